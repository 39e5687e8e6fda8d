//! Prints a configuration as TOML that loads to the same configuration.

use super::Loaded;
use super::reader::Entry;

/// The first lines of the commented file.
const HEADER: &str = "\
# The configuration of mini-platform: every key, with its meaning.
#
# Later wins: the defaults, a file like this one, the environment, flags. The key http.listen is
# the variable MINI_PLATFORM__HTTP__LISTEN and the flag --set http.listen=...
# Durations and sizes have units. A list in a variable or a flag is separated by commas.

";

impl Loaded {
    /// Prints every key, with the origin of its value as a comment.
    ///
    /// The line of a secret is a comment as a whole: it shows nothing, and loading it sets nothing.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let head = |_: &Entry| String::new();
        print(&self.entries, head, |entry| format!("{}  # {}\n", assignment(entry), entry.origin))
    }

    /// Prints every key below its explanation: of the defaults, this is the file to start from.
    #[must_use]
    pub fn to_commented_toml(&self) -> String {
        let head = |first: &Entry| comment(first.key.section_help);
        let sections = print(&self.entries, head, |entry| {
            format!("\n{}{}\n", comment(entry.key.help), assignment(entry))
        });
        format!("{HEADER}{sections}")
    }
}

/// Prints each section: what `head` says of it, its name, its keys.
fn print(entries: &[Entry], head: impl Fn(&Entry) -> String, row: impl Fn(&Entry) -> String) -> String {
    let sections = entries.chunk_by(|a, b| a.key.parts().0 == b.key.parts().0);
    let texts = sections.filter_map(|section| {
        let first = section.first()?;
        let rows: String = section.iter().map(&row).collect();
        Some(format!("{}[{}]\n{rows}", head(first), first.key.parts().0))
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn assignment(entry: &Entry) -> String {
    let (_, name) = entry.key.parts();
    match &entry.value {
        Some(value) => format!("{name} = {value}"),
        None => format!("# {name} = (redacted)"),
    }
}

/// The lines are doc comments, so each starts with a space or is empty.
fn comment(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("#{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::problem::Origin;
    use super::super::reader::Key;
    use super::*;

    #[test]
    fn the_line_of_a_secret_is_a_comment() {
        let key = Key { path: "s3.secret_access_key", default: "", help: &[], section_help: &[] };
        let entry = Entry { key, value: None, origin: Origin::Flag };
        assert_eq!(assignment(&entry), "# secret_access_key = (redacted)");
    }
}
