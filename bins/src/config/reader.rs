//! Reads one key after the other from the layers, and keeps every problem.

use super::layers::{Setting, Sources};
use super::problem::{Origin, Problem};
use super::value::Kind;

/// A row of the table of keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) path: &'static str,
    pub(super) default: &'static str,
    /// Lines of explanation, with the reason of the default.
    pub(super) help: &'static [&'static str],
    /// The same of the section that the key is in.
    pub(super) section_help: &'static [&'static str],
}

impl Key {
    /// Splits `http.listen` into `http` and `listen`.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }
}

/// The value of one key that is in effect.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// As TOML; none of a secret that somebody set.
    pub(super) value: Option<toml::Value>,
    pub(super) origin: Origin,
}

/// The layers, and what was read of them so far.
pub(super) struct Reader {
    /// What the program has in the place of defaults of the table.
    defaults: &'static [(&'static str, &'static str)],
    settings: Vec<Setting>,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(sources: &Sources) -> Self {
        let (settings, problem) = sources.settings();
        let problems = problem.into_iter().collect();
        Self { defaults: sources.defaults, settings, entries: Vec::new(), problems }
    }

    /// Reads a key from the default and from every layer: a wrong value is a problem even where another wins.
    pub(super) fn read<K: Kind>(&mut self, key: Key, kind: &K) -> Option<K::Value> {
        let own = self.defaults.iter().find(|(path, _)| *path == key.path);
        let default = own.map_or(key.default, |(_, default)| *default);
        let default = Setting::untyped(key.path, default, Origin::Default);
        let layers = self.settings.iter().filter(|setting| setting.path == key.path);
        let mut effective = None;
        for setting in std::iter::once(&default).chain(layers) {
            match kind.read(&setting.written) {
                Some(value) => effective = Some((value, setting.origin.clone())),
                None => self.problems.push(invalid(setting, kind)),
            }
        }
        let (value, origin) = effective?;
        // A default is in the documentation, so it is no secret.
        let is_public = !K::SECRET || origin == Origin::Default;
        let shown = is_public.then(|| kind.toml(&value));
        self.entries.push(Entry { key, value: shown, origin });
        Some(value)
    }

    /// Demands that one key is at most another, unless the value of one is in doubt.
    pub(super) fn at_most(&mut self, small: &str, large: &str, holds: bool) {
        if holds || self.is_in_doubt(small) || self.is_in_doubt(large) {
            return;
        }
        if let (Some(small), Some(large)) = (self.entry(small), self.entry(large)) {
            let expected =
                format!("at most {}, which is {} ({})", large.key.path, large.shown(), large.origin);
            self.problems.push(small.problem(expected));
        }
    }

    /// Demands that of two keys both have a value or none.
    pub(super) fn together(&mut self, one: &str, other: &str, holds: bool) {
        if holds || self.is_in_doubt(one) || self.is_in_doubt(other) {
            return;
        }
        if let (Some(one), Some(other)) = (self.entry(one), self.entry(other)) {
            let (missing, given) = if one.is_empty() { (one, other) } else { (other, one) };
            let expected = format!("a value, because {} has one ({})", given.key.path, given.origin);
            self.problems.push(missing.problem(expected));
        }
    }

    /// Demands something of the value of a key, unless it is in doubt.
    pub(super) fn demand(&mut self, path: &str, expected: &str, holds: bool) {
        if holds || self.is_in_doubt(path) {
            return;
        }
        if let Some(entry) = self.entry(path) {
            self.problems.push(entry.problem(expected.to_owned()));
        }
    }

    /// Demands that what a key chooses is part of this build.
    pub(super) fn built(&mut self, path: &str, feature: &str, holds: bool) {
        let expected = format!("what is in this build (build with --features {feature} to have more)");
        self.demand(path, &expected, holds);
    }

    fn is_in_doubt(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| problem.concerns(path))
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.path == path)
    }

    /// Returns every key with its value, and every problem, now with the keys that nobody asked for.
    pub(super) fn finish(mut self) -> (Vec<Entry>, Vec<Problem>) {
        let known: Vec<_> = self.entries.iter().map(|entry| entry.key.path).collect();
        let unknown = self.settings.iter().filter(|setting| !known.contains(&setting.path.as_str()));
        self.problems.extend(unknown.map(|setting| Problem::UnknownKey {
            origin: setting.origin.clone(),
            key: setting.path.escape_debug().to_string(),
            nearest: nearest(&setting.path, &known).to_owned(),
        }));
        (self.entries, self.problems)
    }
}

impl Entry {
    fn shown(&self) -> String {
        self.value.as_ref().map_or_else(|| HIDDEN.to_owned(), ToString::to_string)
    }

    fn is_empty(&self) -> bool {
        self.value.as_ref().is_some_and(|value| value.as_str() == Some(""))
    }

    fn problem(&self, expected: String) -> Problem {
        let (origin, key) = (self.origin.clone(), self.key.path.to_owned());
        Problem::Value { origin, key, expected, found: self.shown() }
    }
}

/// What stands in a message instead of the value of a secret.
const HIDDEN: &str = "a value that is not shown";

fn invalid<K: Kind>(setting: &Setting, kind: &K) -> Problem {
    Problem::Value {
        origin: setting.origin.clone(),
        key: setting.path.clone(),
        expected: kind.expected(),
        found: if K::SECRET { HIDDEN.to_owned() } else { setting.excerpt.clone() },
    }
}

/// Finds the known key that resembles another most.
fn nearest<'a>(path: &str, known: &[&'a str]) -> &'a str {
    let likeness = |other: &str| strsim::normalized_damerau_levenshtein(path, other);
    known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::value::Written;
    use super::*;

    /// What the key of an S3 account will be: at least four characters.
    struct AccessKey;

    impl Kind for AccessKey {
        type Value = String;
        const SECRET: bool = true;

        fn expected(&self) -> String {
            "an access key".to_owned()
        }

        fn read(&self, written: &Written) -> Option<String> {
            let Written::Untyped(text) = written else { return None };
            (text.is_empty() || text.len() > 3).then(|| text.clone())
        }

        fn toml(&self, value: &String) -> toml::Value {
            value.as_str().into()
        }
    }

    const KEY: Key = Key { path: "s3.secret_access_key", default: "", help: &[], section_help: &[] };

    fn read(flags: &[(&str, &str)]) -> (Option<String>, Vec<Entry>, Vec<Problem>) {
        let flags = flags.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        let mut reader = Reader::new(&Sources { flags, ..Sources::default() });
        let value = reader.read(KEY, &AccessKey);
        let (entries, problems) = reader.finish();
        (value, entries, problems)
    }

    #[test]
    fn a_secret_reaches_the_program_but_no_entry() {
        let (value, entries, problems) = read(&[(KEY.path, "hunter2")]);
        assert_eq!((value.as_deref(), problems.as_slice()), (Some("hunter2"), [].as_slice()));
        assert!(!format!("{entries:?}").contains("hunter2"), "{entries:?}");
    }

    #[test]
    fn no_problem_shows_a_secret() {
        let (_, _, problems) = read(&[(KEY.path, "abc"), ("s3.secret_acces_key", "abc")]);
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "flag --set: s3.secret_access_key: expected an access key, found a value that is not shown",
                "flag --set: s3.secret_acces_key is not a known key, the nearest is s3.secret_access_key",
            ]
        );
    }

    #[test]
    fn the_name_of_an_unknown_key_stays_on_its_line() {
        let (_, _, problems) = read(&[("a\n\u{1b}.é", "")]);
        assert!(problems[0].to_string().starts_with("flag --set: a\\n\\u{1b}.é is not"), "{}", problems[0]);
    }

    #[test]
    fn a_default_that_cannot_be_read_is_a_problem() {
        let mut reader = Reader::new(&Sources::default());
        assert_eq!(reader.read(Key { default: "abc", ..KEY }, &AccessKey), None);
        assert_eq!(reader.finish().1.len(), 1);
    }
}
