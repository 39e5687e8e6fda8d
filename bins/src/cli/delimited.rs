//! One line of a text table: cells between semicolons, quoted or not.

use std::borrow::Cow;

const DELIMITER: char = ';';
const QUOTE: char = '"';

/// One cell of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell<'a> {
    /// What it says, without quotes.
    pub(super) text: Cow<'a, str>,
    /// Whether it was between quotes.
    pub(super) is_quoted: bool,
}

/// Says why a line cannot be cut into cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLine {
    /// A quote is open at the end.
    #[error("a quote is not closed")]
    OpenQuote,
    /// Something follows a closing quote.
    #[error("there is text behind a closing quote")]
    AfterQuote,
}

/// Cuts a line into its cells. A doubled quote inside of quotes stands for one.
pub(super) fn cells(line: &str) -> Result<Vec<Cell<'_>>, BadLine> {
    let mut cells = Vec::new();
    let mut rest = Some(line);
    while let Some(text) = rest {
        let (cell, behind) = match text.strip_prefix(QUOTE) {
            Some(quoted) => {
                let (text, behind) = until_closing_quote(quoted)?;
                (Cell { text, is_quoted: true }, behind)
            }
            None => {
                let (text, behind) = text.split_at(text.find(DELIMITER).unwrap_or(text.len()));
                (Cell { text: text.into(), is_quoted: false }, behind)
            }
        };
        cells.push(cell);
        rest = match behind.strip_prefix(DELIMITER) {
            None if !behind.is_empty() => return Err(BadLine::AfterQuote),
            rest => rest,
        };
    }
    Ok(cells)
}

/// Returns the text before the closing quote, and what is behind it.
fn until_closing_quote(text: &str) -> Result<(Cow<'_, str>, &str), BadLine> {
    let (first, behind) = text.split_once(QUOTE).ok_or(BadLine::OpenQuote)?;
    let Some(mut rest) = behind.strip_prefix(QUOTE) else { return Ok((first.into(), behind)) };
    let mut unquoted = format!("{first}{QUOTE}");
    loop {
        let (part, behind) = rest.split_once(QUOTE).ok_or(BadLine::OpenQuote)?;
        unquoted.push_str(part);
        match behind.strip_prefix(QUOTE) {
            Some(more) => {
                unquoted.push(QUOTE);
                rest = more;
            }
            None => return Ok((unquoted.into(), behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        cells(line).unwrap().into_iter().map(|cell| cell.text.into_owned()).collect()
    }

    #[test]
    fn cells_are_cut_at_semicolons_outside_of_quotes() {
        assert_eq!(texts(r#"1;"Hl.m. Praha";"a;b";;700.00"#), ["1", "Hl.m. Praha", "a;b", "", "700.00"]);
        assert_eq!(texts(r#""";"#), ["", ""]);
        assert_eq!(texts(""), [""]);
    }

    #[test]
    fn a_doubled_quote_stands_for_one() {
        assert_eq!(texts(r#""the ""Old"" Bank";"""";"x""""#), [r#"the "Old" Bank"#, "\"", "x\""]);
    }

    #[test]
    fn a_cell_says_whether_it_was_quoted() {
        let cells = cells(r#"1;"1""#).unwrap();
        assert_eq!(cells.iter().map(|cell| cell.is_quoted).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_line_that_ends_inside_of_quotes_or_goes_on_behind_them_is_refused() {
        for line in [r#"1;"PRIJE"#, r#"1;""#, r#""a"""#, r#""a""b"#] {
            assert_eq!(cells(line), Err(BadLine::OpenQuote), "{line}");
        }
        assert_eq!(cells(r#""a"b;c"#), Err(BadLine::AfterQuote));
    }
}
