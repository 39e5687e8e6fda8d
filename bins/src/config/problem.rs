//! What can be wrong with a configuration, and where it was written.

use std::fmt::{self, Write};
use std::path::PathBuf;

/// Where a value was written. Later variants win over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// The table of defaults in the program.
    Default,
    /// A TOML file.
    File {
        /// The file, as it was named by the caller.
        path: PathBuf,
        /// The line, from 1; none when the file as a whole is meant.
        line: Option<usize>,
    },
    /// An environment variable, by its name.
    Environment(String),
    /// `--set section.key=value`, or a flag that stands for it.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: None } => write!(f, "file {}", OneLine(&path.to_string_lossy())),
            Self::File { path, line: Some(line) } => {
                write!(f, "file {} line {line}", OneLine(&path.to_string_lossy()))
            }
            Self::Environment(name) => write!(f, "environment {}", OneLine(name)),
            Self::Flag => f.write_str("flag --set"),
        }
    }
}

/// Shows a name without control characters: it may hold a line break, which would end the line that it is in.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_debug()),
            false => f.write_char(c),
        })
    }
}

/// One thing to correct. The values of secret keys are never part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A value is not what its key takes.
    #[error("{origin}: {key}: expected {expected}, found {found}")]
    Value {
        /// Where it was written.
        origin: Origin,
        /// The path of the key, such as `http.listen`.
        key: String,
        /// What the key takes.
        expected: String,
        /// What was written.
        found: String,
    },
    /// There is no such key.
    #[error("{origin}: {key} is not a known key, the nearest is {nearest}")]
    UnknownKey {
        /// Where it was written.
        origin: Origin,
        /// The path as it was written.
        key: String,
        /// The known key that resembles it most.
        nearest: String,
    },
    /// The file is not TOML, so none of its keys were looked at.
    #[error("{origin} column {column}: not valid TOML: {message}")]
    Syntax {
        /// The file and the line.
        origin: Origin,
        /// The column, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// The file or the variable could not be read at all.
    #[error("{origin}: cannot be read: {reason}")]
    Unreadable {
        /// The file or the variable.
        origin: Origin,
        /// Why.
        reason: String,
    },
}

impl Problem {
    /// Returns where the problem was written.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Value { origin, .. }
            | Self::UnknownKey { origin, .. }
            | Self::Syntax { origin, .. }
            | Self::Unreadable { origin, .. } => origin,
        }
    }

    /// Tells whether the value of a key is in doubt: any may be set in a file that is not TOML.
    pub(super) fn concerns(&self, path: &str) -> bool {
        match self {
            Self::Value { key, .. } => key == path,
            Self::Syntax { .. } => true,
            Self::UnknownKey { .. } | Self::Unreadable { .. } => false,
        }
    }
}

/// Everything that is wrong with a configuration: one line each, sorted by origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblems(Vec<Problem>);

impl ConfigProblems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.origin().cmp(b.origin()));
        Self(problems)
    }

    /// Returns the problems, sorted by origin: the file by line, then the environment, then the flags.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} {} in the configuration", if count == 1 { "problem" } else { "problems" })?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigProblems {}

/// Something cannot be used as it is configured, whoever answers: programs end with [`exit::CONFIG`].
///
/// [`exit::CONFIG`]: crate::exit::CONFIG
#[derive(Debug, thiserror::Error)]
#[error("[{section}] of the configuration cannot be used")]
pub struct Misconfigured {
    section: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Misconfigured {
    #[cfg_attr(
        not(any(
            feature = "cluster",
            feature = "kafka",
            feature = "mongodb",
            feature = "redis",
            feature = "s3"
        )),
        expect(
            dead_code,
            reason = "a single process on its own store has nothing that it could not check before"
        )
    )]
    pub(crate) fn new(section: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { section, source: Box::new(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_stays_on_its_line() {
        let file = Origin::File { path: "a\n[b].toml".into(), line: Some(3) };
        let variable = Origin::Environment("MINI_PLATFORM__A\n\u{1b}".to_owned());
        assert_eq!(file.to_string(), "file a\\n[b].toml line 3");
        assert_eq!(variable.to_string(), "environment MINI_PLATFORM__A\\n\\u{1b}");
    }
}
