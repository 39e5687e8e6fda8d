//! The configuration: defaults, then a TOML file, then the environment, then flags.
//!
//! Here are the table of keys and the rules between them. Nothing is read from outside but in
//! [`Sources::gather`], so a test hands over texts. All problems are found in one run.
//!
//! To add a key: a row in the table below, then run the ignored test `the_commented_file_is_written_anew`.
//! For a new kind of value see `value.rs`; a rule between two keys goes to `check`.
//!
//! ```
//! use std::time::Duration;
//! use mini_platform_bins::config::{Config, Sources};
//!
//! let file = Some(("mini-platform.toml".into(), "[dispatch]\ntimeout = \"250ms\"".to_owned()));
//! let loaded = Config::load(&Sources { file, ..Sources::default() })?;
//! assert_eq!(loaded.config.dispatch.timeout, Duration::from_millis(250));
//! # Ok::<(), mini_platform_bins::config::ConfigProblems>(())
//! ```

mod layers;
mod print;
mod problem;
mod reader;
mod table;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mini_platform_core::domain::{Currency, MAX_BATCH, MatchMode};
use mini_platform_core::feeder::{ListFormat, Ratio};
use mini_platform_core::worker::ScreenedParties;

use reader::{Entry, Key, Reader};
use table::config_table;
use value::{
    Address, Choice, CurrencyCode, FeedSources, Folder, Integer, MemorySize, Share, Size, Switch, Text, Time,
};

pub use layers::{Sources, VARIABLE_PREFIX};
pub use problem::{ConfigProblems, Origin, Problem};

config_table! {
    /// Configures how clients are served over HTTP.
    http: HttpConfig {
        /// Names the address to listen on; port 0 picks a free one.
        /// Loopback: other machines reach a new installation only once somebody decides so.
        "http.listen" = "127.0.0.1:8080" => listen: SocketAddr as Address;

        /// Limits the body of a request with one event.
        /// One event is below 4 KiB even with the longest names, every letter of them escaped.
        "http.max_body" = "64KiB" => max_body: usize as MemorySize;

        /// Limits one line of NDJSON; the number of lines is free.
        /// A line is one event, so it is as large as one body.
        "http.max_line" = "64KiB" => max_line: usize as MemorySize;

        /// Limits a JSON array of events, which is held in memory as a whole.
        /// Room for about a hundred thousand events; who has more sends NDJSON.
        "http.max_array" = "16MiB" => max_array: usize as MemorySize;

        /// Limits the time until a request's head is complete; idle connections end, too.
        /// A slow client needs a second or two; one that sends nothing holds no connection.
        "http.header_timeout" = "10s" => header_timeout: Duration as Time;

        /// Limits the time until a body is complete, or the next line of a stream.
        /// The largest array arrives in it at 5 Mbit/s; clients that trickle bytes hold no connection.
        "http.body_timeout" = "30s" => body_timeout: Duration as Time;

        /// Limits the connections that are open at once; more wait to be accepted.
        /// Room for hundreds of clients with a pool each; a connection costs memory and an open file.
        "http.max_connections" = "4096" => max_connections: usize as Integer(1..=65_536);

        /// Limits the time that requests in flight get to finish after a signal to stop.
        /// Well below the 30 seconds after which Kubernetes kills a process.
        "http.shutdown_grace" = "10s" => shutdown_grace: Duration as Time;
    }

    /// Configures how events are gathered to batches and handed to workers.
    dispatch: DispatchConfig {
        /// Chooses the worker of a batch: "round_robin" takes one after the other.
        /// There is one worker in the all-in-one, so the simplest policy is right.
        "dispatch.policy" = "round_robin" => policy: Policy as POLICIES;

        /// Limits the time in which an event is finished, from its arrival in the queue.
        /// Far above what a durable write takes, and short enough for a person who waits.
        "dispatch.timeout" = "1s" => timeout: Duration as Time;

        /// Limits the events of one batch.
        /// The cost of a call and of a durable write is well spread at this size.
        "dispatch.max_batch" = "512" => max_batch: usize as Integer(1..=MAX_BATCH);

        /// Limits the events that wait for a batch; more are refused as overload.
        /// Sixteen full batches, which a store of 10,000 events a second finishes within the timeout.
        "dispatch.queue" = "8192" => queue: usize as Integer(1..=1_000_000);
    }

    /// Configures what is assumed of events that leave something out.
    events: EventsConfig {
        /// Names the currency of events without one, by its ISO 4217 code.
        /// The currency of the first banks that are served.
        "events.default_currency" = "CZK" => default_currency: Currency as CurrencyCode;
    }

    /// Configures how events are checked against the fraud list.
    screening: ScreeningConfig {
        /// Chooses who is screened: "brief", or "both" parties of every event.
        /// Brief: the receiver of a transaction and who withdraws. It matters where the money goes to.
        "screening.parties" = "brief" => parties: ScreenedParties as PARTIES;

        /// Chooses how names are compared: "normalized", or "exact", byte by byte.
        /// Normalized ignores case, width and repeated space, in which lists and banks differ.
        "screening.match" = "normalized" => match_mode: MatchMode as MATCH_MODES;
    }

    /// Configures where events are stored.
    store: StoreConfig {
        /// Chooses "embedded", on disk, or "memory", lost at the end.
        /// Durable without a server to install.
        "store.backend" = "embedded" => backend: Backend as BACKENDS;
    }

    /// Configures where interactions and branches of clients are kept.
    adjacency: AdjacencyConfig {
        /// Chooses "embedded", on disk, or "memory", lost at the end.
        /// Durable without a server to install.
        "adjacency.backend" = "embedded" => backend: Backend as BACKENDS;
    }

    /// Configures where the fraud list in force is kept.
    registry: RegistryConfig {
        /// Chooses "embedded", on disk, or "memory", lost at the end.
        /// Durable: after a restart events are screened before the source is read again.
        "registry.backend" = "embedded" => backend: Backend as BACKENDS;
    }

    /// Configures the embedded store, which is on disk and in the process itself.
    embedded: EmbeddedConfig {
        /// Names the folder of the data, which is made when it is missing.
        /// In the working folder, so that a first try is easy to find and to delete.
        "embedded.dir" = "data" => dir: PathBuf as Folder;

        /// Limits the memory of the block cache.
        /// Small machines can spare it; more helps when many different clients are looked up.
        "embedded.cache" = "16MiB" => cache: u64 as Size;
    }

    /// Configures how the fraud list is fetched and when it is refused.
    feeder: FeederConfig {
        /// Lists the places whose entries make up the list: "bundled", or "file:PATH".
        /// The bundled sample lets a new installation screen something at once.
        "feeder.source" = "bundled" => source: Vec<FeedSource> as FeedSources;

        /// Names the format: "auto", "text", "csv", "ofac-sdn" or "opensanctions".
        /// Auto looks at the content, so that only an unusual file needs a word.
        "feeder.format" = "auto" => format: ListFormat as LIST_FORMATS;

        /// Names the column of a CSV file, by its header, that holds the names.
        /// What most published lists call it.
        "feeder.column" = "name" => column: String as Text;

        /// Sets the pause between two looks at the source.
        /// A new name counts within half a minute, and an unchanged file costs next to nothing.
        "feeder.interval" = "30s" => interval: Duration as Time;

        /// Refuses a list that lost more than this part of the entries in force.
        /// Real lists shrink slowly; half of one is a torn upload.
        "feeder.max_shrink" = "0.5" => max_shrink: Ratio as Share;

        /// Refuses a list in which more than this part of the rows is malformed.
        /// Published lists have a few odd rows; more than that is another format.
        "feeder.max_malformed" = "0.01" => max_malformed: Ratio as Share;

        /// Limits the age of the list; with an older one the platform is not ready.
        /// Sanction lists change daily, so an older list is a feed that stopped.
        "feeder.max_age" = "24h" => max_age: Duration as Time;

        /// Refuses a source with more bytes than this, unpacked.
        /// More than published lists have; a compressed bomb ends here.
        "feeder.max_size" = "1GiB" => max_size: u64 as Size;

        /// Refuses a list with more entries than this.
        /// Far more than published lists have, and about a gigabyte of memory.
        "feeder.max_entries" = "10000000" => max_entries: u64 as Integer(1..=1_000_000_000);

        /// Takes a list however much it shrank, once somebody has looked at it.
        /// A list that is too short lets events pass, so this is a decision.
        "feeder.allow_shrink" = "false" => allow_shrink: bool as Switch;
    }

    /// Configures what the program says about itself on standard error.
    log: LogConfig {
        /// Chooses what is logged: a level, or "info,mini_platform_core=debug".
        /// State changes, nothing for each event.
        "log.level" = "info" => level: String as Text;
    }
}

/// Demands what must hold between two keys.
fn check(config: &Config, reader: &mut Reader) {
    let Config { http, dispatch, feeder, .. } = config;
    // An array of one event is never refused where the event alone is taken.
    reader.at_most("http.max_body", "http.max_array", http.max_body <= http.max_array);
    // A full batch never gathers in a queue that is smaller.
    reader.at_most("dispatch.max_batch", "dispatch.queue", dispatch.max_batch <= dispatch.queue);
    // Else the list is too old before the feeder looks again, and readiness flaps.
    reader.at_most("feeder.interval", "feeder.max_age", feeder.interval <= feeder.max_age);
}

impl Config {
    /// Puts the layers together and checks every value.
    ///
    /// # Errors
    /// All problems of all layers at once.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigProblems> {
        let mut reader = Reader::new(sources);
        let config = Self::read(&mut reader);
        if let Some(config) = &config {
            check(config, &mut reader);
        }
        let (entries, problems) = reader.finish();
        match config {
            Some(config) if problems.is_empty() => Ok(Loaded { config, entries }),
            _ => Err(ConfigProblems::new(problems)),
        }
    }
}

/// A configuration, and where each of its values was written.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values that are in effect.
    pub config: Config,
    entries: Vec<Entry>,
}

/// How the worker of a batch is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// One after the other.
    RoundRobin,
}

/// What keeps the data behind one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The store of the process itself, on disk.
    Embedded,
    /// Memory, lost at the end of the process.
    Memory,
}

/// A place that a fraud list is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedSource {
    /// The sample list that is part of the program.
    Bundled,
    /// A file on this machine.
    File(PathBuf),
}

impl fmt::Display for FeedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

const POLICIES: Choice<Policy> = Choice(&[("round_robin", Policy::RoundRobin)]);

const BACKENDS: Choice<Backend> = Choice(&[("embedded", Backend::Embedded), ("memory", Backend::Memory)]);

const PARTIES: Choice<ScreenedParties> =
    Choice(&[("brief", ScreenedParties::Brief), ("both", ScreenedParties::Both)]);

const MATCH_MODES: Choice<MatchMode> =
    Choice(&[("normalized", MatchMode::Normalized), ("exact", MatchMode::Exact)]);

const LIST_FORMATS: Choice<ListFormat> = Choice(&[
    ("auto", ListFormat::Auto),
    ("text", ListFormat::Text),
    ("csv", ListFormat::Csv),
    ("ofac-sdn", ListFormat::OfacSdn),
    ("opensanctions", ListFormat::OpenSanctions),
]);

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = include_str!("../../config/mini-platform.toml");

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn load(
        file: &str,
        variables: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Loaded, ConfigProblems> {
        let file = Some(("mini-platform.toml".into(), file.to_owned()));
        Config::load(&Sources { file, environment: owned(variables), flags: owned(flags) })
    }

    fn problems(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
        let problems = load(file, variables, flags).expect_err("the configuration must be refused");
        problems.as_slice().iter().map(ToString::to_string).collect()
    }

    fn defaults() -> Loaded {
        Config::load(&Sources::default()).expect("the defaults are valid")
    }

    #[test]
    fn a_later_layer_wins() {
        let file = "[http]\nmax_body = '1KiB'\nmax_line = '1KiB'\nmax_array = '1MiB'";
        let variables =
            [("MINI_PLATFORM__HTTP__MAX_LINE", "2KiB"), ("MINI_PLATFORM__HTTP__MAX_ARRAY", "2MiB")];
        let flags = [("http.max_array", "3MiB"), ("http.max_array", "4MiB")];
        let http = load(file, &variables, &flags).expect("all values are valid").config.http;
        assert_eq!((http.max_body, http.max_line, http.max_array), (1 << 10, 2 << 10, 4 << 20));
        assert_eq!(http.header_timeout, Duration::from_secs(10), "what no layer sets keeps its default");
    }

    #[test]
    fn all_problems_of_all_layers_are_reported_at_once() {
        let file = "[http]\nlisten = 'here'\n\n[dispatch]\npolicy = 'random'\nmax_batch = 2000\n";
        let variables =
            [("MINI_PLATFORM__FEEDER__INTERVAL", "0s"), ("MINI_PLATFORM__EVENTS__DEFAULT_CURRENCY", "XXZ")];
        let flags = [("feeder.source", "bundled,s3://bucket/key"), ("feeder.max_shrink", "1.5")];
        assert_eq!(
            problems(file, &variables, &flags),
            [
                r#"file mini-platform.toml line 2: http.listen: expected an IP address and a port such as "127.0.0.1:8080", found 'here'"#,
                r#"file mini-platform.toml line 5: dispatch.policy: expected "round_robin", found 'random'"#,
                "file mini-platform.toml line 6: dispatch.max_batch: expected a whole number from 1 to 1024, found 2000",
                r#"environment MINI_PLATFORM__EVENTS__DEFAULT_CURRENCY: events.default_currency: expected an ISO 4217 code such as "CZK", found "XXZ""#,
                r#"environment MINI_PLATFORM__FEEDER__INTERVAL: feeder.interval: expected a duration above zero, and at most 100 years, such as "250ms" or "30s", found "0s""#,
                r#"flag --set: feeder.source: expected a list of "bundled" or "file:PATH" (this build has no S3 support), found "bundled,s3://bucket/key""#,
                "flag --set: feeder.max_shrink: expected a number from 0 to 1, found \"1.5\"",
            ]
        );
    }

    #[test]
    fn a_wrong_value_is_a_problem_even_where_another_layer_wins() {
        let variables = [("MINI_PLATFORM__HTTP__LISTEN", "127.0.0.1:1")];
        assert_eq!(problems("http.listen = 'here'", &variables, &[]).len(), 1);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let file = "[http]\nlisen = 1\n[server]\nmax_age = 1\n[feeder.csv]\ncolumn = 1\n";
        let variables =
            [("MINI_PLATFORM__HTTP__MAX__BODY", "1KiB"), ("MINI_PLATFORM_OTHER", "x"), ("PATH", "x")];
        assert_eq!(
            problems(file, &variables, &[("embeded.dir", "x")]),
            [
                "file mini-platform.toml line 2: http.lisen is not a known key, the nearest is http.listen",
                "file mini-platform.toml line 4: server.max_age is not a known key, the nearest is feeder.max_age",
                "file mini-platform.toml line 5: feeder.csv is not a known key, the nearest is feeder.column",
                "environment MINI_PLATFORM__HTTP__MAX__BODY: http.max.body is not a known key, the nearest is http.max_body",
                "flag --set: embeded.dir is not a known key, the nearest is embedded.dir",
            ]
        );
    }

    #[test]
    fn a_syntax_error_is_one_problem_beside_those_of_other_layers() {
        let found = problems("[http]\nlisten = \"a\"\nmax_body == 3\n", &[], &[("log.level", " ")]);
        let [syntax, flag] = found.as_slice() else { panic!("two problems, got {found:#?}") };
        assert!(syntax.starts_with("file mini-platform.toml line 3 column 11: not valid TOML: "), "{syntax}");
        assert_eq!(flag, r#"flag --set: log.level: expected text that is not blank, found " ""#);
    }

    #[test]
    fn rules_between_keys_name_both_origins() {
        let file = "[http]\nmax_array = '1KiB'\n[dispatch]\nmax_batch = 9\n";
        let variables = [("MINI_PLATFORM__DISPATCH__QUEUE", "8")];
        assert_eq!(
            problems(file, &variables, &[("feeder.max_age", "29s"), ("log.level", "")]),
            [
                r#"default: http.max_body: expected at most http.max_array, which is "1KiB" (file mini-platform.toml line 2), found "64KiB""#,
                r#"default: feeder.interval: expected at most feeder.max_age, which is "29s" (flag --set), found "30s""#,
                "file mini-platform.toml line 4: dispatch.max_batch: expected at most dispatch.queue, which is 8 \
             (environment MINI_PLATFORM__DISPATCH__QUEUE), found 9",
                r#"flag --set: log.level: expected text that is not blank, found """#,
            ]
        );
        assert!(load("dispatch = { max_batch = 9, queue = 9 }", &[], &[]).is_ok(), "equal is allowed");
    }

    #[test]
    fn a_rule_is_not_checked_on_a_key_that_is_in_doubt() {
        assert_eq!(problems("dispatch = { max_batch = 'many', queue = 1 }", &[], &[]).len(), 1);
        assert_eq!(problems("dispatch = { max_batch = 1", &[], &[("dispatch.queue", "1")]).len(), 1);
    }

    #[test]
    fn a_list_is_an_array_or_text_with_commas() {
        let expected = [FeedSource::Bundled, FeedSource::File("a b.txt".into())];
        for file in ["source = ['bundled', 'file:a b.txt']", "source = 'bundled, file:a b.txt'"] {
            let loaded = load(&format!("[feeder]\n{file}"), &[], &[]).expect(file);
            assert_eq!(loaded.config.feeder.source, expected, "{file}");
        }
        let flag =
            load("", &[], &[("feeder.source", "bundled,file:a b.txt")]).expect("a flag is a list, too");
        assert_eq!(flag.config.feeder.source, expected);
    }

    #[test]
    fn printed_toml_loads_to_the_same_configuration() {
        let file = "[feeder]\nsource = ['file:a,\"b\".csv', 'bundled']\ninterval = '1m 30s'\nmax_shrink = 1\n\
                    [embedded]\ndir = 'C:\\temp # 1'\ncache = '3GiB'\n[http]\nlisten = '[::1]:0'\n";
        let variables =
            [("MINI_PLATFORM__SCREENING__MATCH", "exact"), ("MINI_PLATFORM__FEEDER__ALLOW_SHRINK", "true")];
        let loaded = load(file, &variables, &[("feeder.format", "ofac-sdn")]).expect("all values are valid");
        let again = load(&loaded.to_toml(), &[], &[]).expect("what is printed is valid");
        assert_eq!(again.config, loaded.config);
        assert_ne!(again.config, defaults().config);
    }

    #[test]
    fn printed_toml_names_the_origin_of_each_value() {
        let variables = [("MINI_PLATFORM__HTTP__MAX_BODY", "1KiB")];
        let printed = load("[http]\nlisten = '[::1]:80'", &variables, &[("http.max_line", "2KiB")]);
        let printed = printed.expect("all values are valid").to_toml();
        let lines: Vec<_> = printed.lines().take(5).collect();
        assert_eq!(
            lines,
            [
                "[http]",
                r#"listen = "[::1]:80"  # file mini-platform.toml line 2"#,
                r#"max_body = "1KiB"  # environment MINI_PLATFORM__HTTP__MAX_BODY"#,
                r#"max_line = "2KiB"  # flag --set"#,
                r#"max_array = "16MiB"  # default"#,
            ]
        );
    }

    #[test]
    fn the_name_of_a_file_cannot_leave_its_comment() {
        let file = Some(("a\n[evil]\nx = 1".into(), "log.level = 'debug'".to_owned()));
        let loaded = Config::load(&Sources { file, ..Sources::default() }).expect("all values are valid");
        assert!(load(&loaded.to_toml(), &[], &[]).is_ok(), "{}", loaded.to_toml());
    }

    #[test]
    fn the_commented_file_is_that_of_the_defaults() {
        assert_eq!(COMMITTED, defaults().to_commented_toml(), "run `the_commented_file_is_written_anew`");
    }

    #[test]
    fn the_commented_file_sets_every_key_and_changes_nothing() {
        let loaded = load(COMMITTED, &[], &[]).expect("the commented file is valid");
        assert_eq!(loaded.config, defaults().config);
        for entry in &loaded.entries {
            assert!(matches!(entry.origin, Origin::File { .. }), "{} must be in the file", entry.key.path);
        }
    }

    #[test]
    #[ignore = "writes into the source tree: cargo test -p mini-platform-bins --lib -- --ignored"]
    fn the_commented_file_is_written_anew() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/mini-platform.toml");
        std::fs::write(path, defaults().to_commented_toml()).expect("the source tree is writable");
    }

    #[test]
    fn every_list_format_has_its_own_name() {
        assert_eq!(LIST_FORMATS.0, ListFormat::ALL.map(|format| (format.as_str(), format)));
    }

    #[test]
    fn every_key_says_its_meaning_and_the_reason_of_its_default() {
        for Entry { key, .. } in defaults().entries {
            assert!(key.help.len() >= 2, "{} needs a meaning and a reason", key.path);
            let first = key.help[0].trim();
            assert!(first.len() < 80 && first.ends_with('.'), "{}: {first}", key.path);
        }
    }
}
