//! The layers above the defaults, flattened to settings: the file, the environment, the flags.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::problem::{ConfigProblems, Origin, Problem};
use super::value::Written;

/// What the name of every variable starts with.
pub const VARIABLE_PREFIX: &str = "MINI_PLATFORM__";

/// The largest file that is read: a hundred times the commented defaults.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The longest excerpt of a wrong value that a message shows, in characters.
const MAX_EXCERPT: usize = 60;

/// Everything that a configuration is made of, as text.
#[derive(Clone, Default)]
pub struct Sources {
    /// Defaults of a program that differ from those that all have: the path of a key and its value.
    pub defaults: &'static [(&'static str, &'static str)],
    /// The TOML file and its text.
    pub file: Option<(PathBuf, String)>,
    /// Names and values of variables; those without [`VARIABLE_PREFIX`] are passed over.
    pub environment: Vec<(String, String)>,
    /// Pairs of a key's path and a value. Of several for one key, the last counts.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// Reads the file and the environment of the process.
    ///
    /// # Errors
    /// The file cannot be read, is larger than 1 MiB, or is not UTF-8; or a variable is not UTF-8.
    pub fn gather(file: Option<&Path>, flags: Vec<(String, String)>) -> Result<Self, ConfigProblems> {
        let mut problems = Vec::new();
        let file = file.and_then(|path| keep(read_file(path), &mut problems));
        let variables = std::env::vars_os().filter_map(|(name, value)| read_variable(&name, value));
        let environment = variables.filter_map(|variable| keep(variable, &mut problems)).collect();
        if problems.is_empty() {
            Ok(Self { file, environment, flags, ..Self::default() })
        } else {
            Err(ConfigProblems::new(problems))
        }
    }

    /// Takes some defaults from a program instead of the table.
    #[must_use]
    pub fn with_defaults(mut self, defaults: &'static [(&'static str, &'static str)]) -> Self {
        self.defaults = defaults;
        self
    }

    /// Flattens the layers to settings: those that win come last.
    pub(super) fn settings(&self) -> (Vec<Setting>, Option<Problem>) {
        let file = self.file.as_ref().map_or(Ok(Vec::new()), |(path, text)| file_settings(path, text));
        let (mut settings, problem) = match file {
            Ok(settings) => (settings, None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        settings.extend(self.environment.iter().filter_map(|(name, value)| variable(name, value)));
        settings.extend(self.flags.iter().map(|(path, value)| Setting::untyped(path, value, Origin::Flag)));
        (settings, problem)
    }
}

/// One value of one layer.
pub(super) struct Setting {
    pub(super) path: String,
    pub(super) written: Written,
    pub(super) origin: Origin,
    /// The value as a message shows it.
    pub(super) excerpt: String,
}

impl Setting {
    pub(super) fn untyped(path: &str, value: &str, origin: Origin) -> Self {
        Self {
            path: path.to_owned(),
            written: Written::Untyped(value.to_owned()),
            origin,
            excerpt: excerpt(&format!("{value:?}")),
        }
    }
}

fn keep<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn read_file(path: &Path) -> Result<(PathBuf, String), Problem> {
    let origin = Origin::File { path: path.to_owned(), line: None };
    match read_text(path) {
        Ok(text) => Ok((path.to_owned(), text)),
        Err(error) => Err(Problem::Unreadable { origin, reason: error.to_string() }),
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}

/// Passes over what is not ours, before anybody minds how it is encoded.
fn read_variable(name: &OsStr, value: OsString) -> Option<Result<(String, String), Problem>> {
    let name = name.to_string_lossy().into_owned();
    if !name.starts_with(VARIABLE_PREFIX) {
        return None;
    }
    Some(match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(Problem::Unreadable {
            origin: Origin::Environment(name),
            reason: "it is not UTF-8".to_owned(),
        }),
    })
}

/// `MINI_PLATFORM__HTTP__LISTEN` sets `http.listen`.
fn variable(name: &str, value: &str) -> Option<Setting> {
    let path = name.strip_prefix(VARIABLE_PREFIX)?.to_ascii_lowercase().replace("__", ".");
    Some(Setting::untyped(&path, value, Origin::Environment(name.to_owned())))
}

fn file_settings(path: &Path, text: &str) -> Result<Vec<Setting>, Problem> {
    let file = TomlFile { path, text };
    let document = DeTable::parse(text).map_err(|error| file.syntax_problem(&error))?;
    let mut settings = Vec::new();
    for (name, value) in document.get_ref() {
        if let DeValue::Table(section) = value.get_ref() {
            let path = |key: &str| format!("{}.{key}", name.get_ref());
            settings.extend(section.iter().map(|(key, value)| file.setting(path(key.get_ref()), value)));
        } else {
            settings.push(file.setting(name.get_ref().to_string(), value));
        }
    }
    Ok(settings)
}

struct TomlFile<'a> {
    path: &'a Path,
    text: &'a str,
}

impl TomlFile<'_> {
    fn setting(&self, path: String, value: &Spanned<DeValue<'_>>) -> Setting {
        Setting {
            path,
            written: written(value.get_ref()),
            origin: self.origin(value.span().start),
            excerpt: excerpt(self.text.get(value.span()).unwrap_or_default()),
        }
    }

    fn syntax_problem(&self, error: &toml::de::Error) -> Problem {
        let start = error.span().map_or(0, |span| span.start);
        let line_start = self.before(start).rfind('\n').map_or(0, |newline| newline + 1);
        Problem::Syntax {
            origin: self.origin(start),
            column: self.text.get(line_start..start).unwrap_or_default().chars().count() + 1,
            message: error.message().replace('\n', ", "),
        }
    }

    fn origin(&self, offset: usize) -> Origin {
        let line = self.before(offset).matches('\n').count() + 1;
        Origin::File { path: self.path.to_owned(), line: Some(line) }
    }

    fn before(&self, offset: usize) -> &str {
        self.text.get(..offset).unwrap_or_default()
    }
}

fn written(value: &DeValue<'_>) -> Written {
    match value {
        DeValue::String(text) => Written::Quoted(text.to_string()),
        DeValue::Integer(integer) => Written::Bare(decimal(integer)),
        DeValue::Float(float) => Written::Bare(float.as_str().to_owned()),
        DeValue::Boolean(flag) => Written::Bare(flag.to_string()),
        DeValue::Array(items) => {
            let strings = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            strings.collect::<Option<_>>().map_or(Written::Other, Written::Strings)
        }
        DeValue::Datetime(_) | DeValue::Table(_) => Written::Other,
    }
}

/// Rewrites `0xff` as `255`; what does not fit stays as it is, and no key takes it.
fn decimal(integer: &DeInteger<'_>) -> String {
    let number = i64::from_str_radix(integer.as_str(), integer.radix());
    number.map_or_else(|_| integer.to_string(), |number| number.to_string())
}

/// Makes one short line of what was written.
fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Vec<Setting> {
        file_settings(Path::new("a.toml"), text).expect("the text is TOML")
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem() {
        let problems =
            Sources::gather(Some(Path::new("no/such.toml")), Vec::new()).err().expect("there is no file");
        assert!(problems.to_string().contains("file no/such.toml: cannot be read: "), "{problems}");
    }

    #[test]
    fn a_file_is_read_as_a_whole_up_to_its_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.toml");
        let text = "#".repeat(1024 * 1024);
        std::fs::write(&path, &text).expect("a file");
        assert_eq!(read_file(&path), Ok((path.clone(), text.clone())));
        std::fs::write(&path, text + "#").expect("a file");
        let problem = read_file(&path).expect_err("the file is too large");
        assert!(problem.to_string().ends_with("it is larger than 1 MiB"), "{problem}");
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf_8_is_a_problem_if_it_is_ours() {
        use std::os::unix::ffi::OsStringExt;
        let read = |name: &str| read_variable(OsStr::new(name), OsString::from_vec(vec![0xff]));
        assert_eq!(read("LANG"), None);
        let problem = read("MINI_PLATFORM__EMBEDDED__DIR").expect("it is ours").expect_err("it is not UTF-8");
        assert_eq!(
            problem.to_string(),
            "environment MINI_PLATFORM__EMBEDDED__DIR: cannot be read: it is not UTF-8"
        );
    }

    #[test]
    fn tables_dotted_keys_and_inline_tables_are_the_same() {
        for text in [
            "[http]\nlisten = 'x'",
            "http.listen = 'x'",
            "http = { listen = 'x' }",
            "\u{feff}http.listen = 'x'\r\n",
        ] {
            let [setting] = settings(text).try_into().ok().expect("one setting");
            assert_eq!(
                (setting.path.as_str(), setting.written),
                ("http.listen", Written::Quoted("x".into())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_key_outside_of_a_section_is_not_lost() {
        let settings = settings("listen = 1\n[[http]]\n");
        let found: Vec<_> =
            settings.iter().map(|setting| format!("{}: {}", setting.origin, setting.path)).collect();
        assert_eq!(found, ["file a.toml line 2: http", "file a.toml line 1: listen"]);
    }

    #[test]
    fn a_setting_knows_its_line_and_its_value_as_written() {
        let [setting] = settings("\n# é\n[a]\nb = [\n  'x',\n  1 ]").try_into().ok().expect("one setting");
        assert_eq!(setting.origin.to_string(), "file a.toml line 4");
        assert_eq!((setting.excerpt.as_str(), setting.written), ("[ 'x', 1 ]", Written::Other));
    }

    #[test]
    fn an_excerpt_is_short_and_has_no_control_characters() {
        let setting = Setting::untyped("a.b", &"ž\u{1b}".repeat(100), Origin::Flag);
        assert_eq!(setting.excerpt.chars().count(), MAX_EXCERPT + 3);
        assert!(!setting.excerpt.contains('\u{1b}'));
    }

    #[test]
    fn an_integer_of_another_base_is_rewritten() {
        let [setting] = settings("a.b = 0x1_f").try_into().ok().expect("one setting");
        assert_eq!(setting.written, Written::Bare("31".into()));
    }

    #[test]
    fn a_repeated_key_is_a_syntax_error() {
        let problem = file_settings(Path::new("a.toml"), "[a]\nb = 1\nx = { 'é' = 1, 'é' = 2 }")
            .err()
            .expect("a repeated key");
        assert!(
            problem.to_string().starts_with("file a.toml line 3 column 16: not valid TOML: "),
            "{problem}"
        );
    }
}
