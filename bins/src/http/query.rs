//! Parameters: of the query string, and names in the path.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use mini_platform_core::domain::{PageSize, PageToken, TimeRange, Timestamp};
use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// The longest parameter name that is repeated in a problem, in characters.
const MAX_SHOWN_NAME: usize = 64;

/// Undoes percent-encoding; `None` when a `%` is not followed by two hexadecimal digits or the result is not UTF-8.
pub(super) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    let escapes_are_whole = text.split('%').skip(1).all(|rest| {
        matches!(rest.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    });
    if escapes_are_whole { percent_decode_str(text).decode_utf8().ok() } else { None }
}

/// Parses a name that is part of the path.
pub(super) fn path_part<T: FromStr<Err: Display>>(name: &str, segment: &str) -> Result<T, Problem> {
    let text = percent_decode(segment)
        .ok_or_else(|| Problem::parameter(name, "is not percent-encoded UTF-8; encode it as for a URL"))?;
    text.parse().map_err(|rule| Problem::parameter(name, rule))
}

/// The parameters of a query string: each known to the path, none twice.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// Parses a query string.
    pub(super) fn parse(query: &str, known: &'static [&'static str]) -> Result<Self, Problem> {
        let mut parameters = Self(Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = parameters.known_name(name, known)?;
            let value = form_decode(value).ok_or_else(|| {
                Problem::parameter(name, "is not percent-encoded UTF-8; encode it as for a URL")
            })?;
            parameters.0.push((name, value));
        }
        Ok(parameters)
    }

    fn known_name(&self, name: &str, known: &'static [&'static str]) -> Result<&'static str, Problem> {
        let name = form_decode(name).unwrap_or_else(|| name.to_owned());
        let Some(known_name) = known.iter().find(|known| **known == name) else {
            let shown: String = name.chars().take(MAX_SHOWN_NAME).collect();
            return Err(match known {
                [] => Problem::parameter(&shown, "is unknown; this path takes no parameters"),
                _ => Problem::parameter(
                    &shown,
                    format_args!("is unknown; this path takes {}", known.join(", ")),
                ),
            });
        };
        if self.0.iter().any(|(given, _)| given == known_name) {
            return Err(Problem::parameter(known_name, "stands twice; send it once"));
        }
        Ok(known_name)
    }

    /// Refuses every parameter.
    pub(super) fn none(query: &str) -> Result<(), Problem> {
        Self::parse(query, &[]).map(|_| ())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.text(name).map(|text| text.parse().map_err(|rule| Problem::parameter(name, rule))).transpose()
    }

    /// Returns the one of `choices` that a parameter names; the first one when it is left out.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
        default: T,
    ) -> Result<T, Problem> {
        let Some(text) = self.text(name) else { return Ok(default) };
        choices.iter().find(|(choice, _)| *choice == text).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
            Problem::parameter(name, format_args!("must be one of {}", names.join(", ")))
        })
    }

    /// Returns `limit`.
    pub(super) fn page_size(&self) -> Result<PageSize, Problem> {
        let Some(text) = self.text("limit") else { return Ok(PageSize::default()) };
        // What is no number of this size breaks the same rule as a number outside of the bounds.
        let size = text.parse().unwrap_or(0);
        PageSize::new(size).map_err(|rule| Problem::parameter("limit", rule))
    }

    /// Returns `page_token`.
    pub(super) fn page_token(&self) -> Result<Option<PageToken>, Problem> {
        self.get("page_token")
    }

    /// Returns `from` and `to`.
    pub(super) fn time_range(&self) -> Result<TimeRange, Problem> {
        let range = TimeRange { from: self.time("from")?, to: self.time("to")? };
        match range {
            TimeRange { from: Some(from), to: Some(to) } if from > to => {
                Err(Problem::parameter("from", "must not be later than `to`"))
            }
            range => Ok(range),
        }
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        // The `+` of a zone that was not encoded arrives as a space, which has no other place in a date-time.
        let text = self.text(name).map(|text| text.replace(' ', "+"));
        text.map(|text| text.parse().map_err(|rule| Problem::parameter(name, rule))).transpose()
    }
}

/// Decodes a name or value of a query string, where `+` is a space.
fn form_decode(text: &str) -> Option<String> {
    percent_decode(&text.replace('+', " ")).map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["from", "to", "limit"];

    fn problem(query: &str) -> String {
        let parameters = Parameters::parse(query, KNOWN);
        let failed = parameters.and_then(|parameters| parameters.time_range().and(parameters.page_size()));
        failed.expect_err("the query is wrong").detail().to_owned()
    }

    #[test]
    fn names_in_a_path_may_hold_anything_encoded() {
        for (segment, decoded) in
            [("a%2Fb", "a/b"), ("100%25", "100%"), ("%F0%9F%A6%80", "🦀"), ("a+b", "a+b")]
        {
            assert_eq!(percent_decode(segment).as_deref(), Some(decoded));
        }
        for segment in ["%", "%4", "%zz", "%ff", "a%2"] {
            assert_eq!(percent_decode(segment), None, "{segment} must be refused");
        }
    }

    #[test]
    fn an_unknown_repeated_or_malformed_parameter_is_named() {
        assert_eq!(problem("colour=red"), "`colour` is unknown; this path takes from, to, limit.");
        assert_eq!(problem("limit=1&limit=1"), "`limit` stands twice; send it once.");
        assert_eq!(problem("from=%f"), "`from` is not percent-encoded UTF-8; encode it as for a URL.");
        for limit in ["0", "1001", "-1", "ten", "", "99999999999"] {
            assert_eq!(problem(&format!("limit={limit}")), "`limit` must be 1 to 1000.");
        }
        assert!(problem("to=yesterday").starts_with("`to` must be an RFC 3339"));
        assert_eq!(
            problem("from=2024-05-02T00:00:00Z&to=2024-05-01T00:00:00Z"),
            "`from` must not be later than `to`."
        );
    }

    #[test]
    fn a_zone_is_understood_with_and_without_encoding() {
        for plus in ["+", "%2B"] {
            let query = format!("from=2024-05-01T12:00:00{plus}02:00");
            let range = Parameters::parse(&query, KNOWN).and_then(|parameters| parameters.time_range());
            assert_eq!(range.map(|range| range.from), Ok("2024-05-01T10:00:00Z".parse().ok()));
        }
    }
}
