//! The layers of a configuration.
//!
//! The laws:
//! - what loads is printed as TOML that loads to the same, with and without comments;
//! - a flag wins over whatever is said elsewhere;
//! - a secret changes nothing of what is printed or reported, but itself;
//! - every problem is one line, in the order of the layers, and each further mistake is one more problem.
//!
//! Lines of three dashes divide the file, the variables (`NAME=value`), and the flags (`section.key=value`).

use mini_platform_core::domain::MAX_TOKEN_BYTES;

use crate::config::{Config, ConfigProblems, Loaded, Need, Sources};

/// The keys whose values are never shown.
const SECRETS: [&str; 4] = ["mongodb.uri", "redis.url", "s3.secret_access_key", "cluster.token"];

/// Checks the laws of a configuration.
pub fn config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let sources = sources(&text);
    match load(&sources) {
        Ok(loaded) => {
            prints_itself(&sources, &loaded);
            obeys_a_flag(&sources);
        }
        Err(problems) => are_readable(&problems),
    }
    hides_secrets(&sources);
    counts_one_more(&sources);
}

fn sources(text: &str) -> Sources {
    let mut parts = text.split("\n---\n");
    let mut part = || parts.next().unwrap_or_default();
    let file = Some(("fuzz.toml".into(), part().to_owned()));
    let (environment, flags) = (pairs(part()), pairs(part()));
    Sources { file, environment, flags, ..Sources::default() }
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.split('\n').filter_map(pair).collect()
}

/// Loads whatever backends are chosen: which ones are in this build is no concern of an input.
fn load(sources: &Sources) -> Result<Loaded, ConfigProblems> {
    Config::load_for(sources, &[Need::NoBackend])
}

/// Adds flags, which win.
fn with(sources: &Sources, flags: impl IntoIterator<Item = (&'static str, String)>) -> Sources {
    let more = flags.into_iter().map(|(path, value)| (path.to_owned(), value));
    let mut sources = sources.clone();
    sources.flags.extend(more);
    sources
}

fn prints_itself(sources: &Sources, loaded: &Loaded) {
    let Config { mongodb, redis, s3, cluster, .. } = &loaded.config;
    let secret = |secret: Option<&crate::config::Secret>| {
        secret.map(|secret| secret.expose().to_owned()).unwrap_or_default()
    };
    let secrets = [
        secret(Some(&mongodb.uri)),
        secret(Some(&redis.url)),
        secret(s3.secret_access_key.as_ref()),
        secret(cluster.token.as_ref()),
    ];
    for printed in [loaded.to_toml(), loaded.to_commented_toml()] {
        let file = Sources { file: Some(("printed.toml".into(), printed.clone())), ..Sources::default() };
        let again = load(&with(&file, SECRETS.into_iter().zip(secrets.clone())));
        let again = again.unwrap_or_else(|problems| panic!("{problems}\n{printed}"));
        assert!(again.config == loaded.config, "what is printed loads to something else:\n{printed}");
    }
    let again = load(sources).map(|again| again.to_toml());
    assert_eq!(again, Ok(loaded.to_toml()), "loading once more makes a difference");
}

fn obeys_a_flag(sources: &Sources) {
    let loaded = load(&with(sources, [("mongodb.database", "flagged".to_owned())]));
    assert_eq!(loaded.map(|loaded| loaded.config.mongodb.database).as_deref(), Ok("flagged"));
}

fn are_readable(problems: &ConfigProblems) {
    assert!(!problems.as_slice().is_empty());
    assert!(problems.as_slice().is_sorted_by_key(|problem| problem.origin().clone()));
    for problem in problems.as_slice() {
        let line = problem.to_string();
        assert!(!line.contains(char::is_control), "a problem is one line of text: {line:?}");
    }
}

/// Checks that two secrets look alike, whether they are right or wrong.
fn hides_secrets(sources: &Sources) {
    let told = |letter: &str, length: usize| {
        let secrets = SECRETS.map(|path| (path, letter.repeat(length)));
        let keyed = with(&with(sources, [("s3.access_key_id", "AK".to_owned())]), secrets);
        match load(&keyed) {
            Ok(loaded) => [loaded.to_toml(), loaded.to_commented_toml(), format!("{loaded:?}")].concat(),
            Err(problems) => format!("{problems}{problems:?}"),
        }
    };
    for length in [MAX_TOKEN_BYTES, MAX_TOKEN_BYTES + 1] {
        assert_eq!(told("x", length), told("y", length), "a secret is shown");
    }
}

fn counts_one_more(sources: &Sources) {
    let count = |sources: &Sources| load(sources).map_or_else(|problems| problems.as_slice().len(), |_| 0);
    let mistaken = with(sources, [("mongodb.database", " ".to_owned())]);
    assert_eq!(count(&mistaken), count(sources) + 1, "a problem hides another");
}
