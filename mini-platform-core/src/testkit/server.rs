//! Real servers for tests: which there are, starting and killing one's own, and a network that fails.
//!
//! A test that needs a server asks for it and returns when there is none, which is printed as `SKIP`. With
//! `MP_TEST_REQUIRE=1`, as in CI, the test fails instead.
//!
//! ```no_run
//! use mini_platform_core::testkit::server::{self, Fault, FaultProxy, Process};
//!
//! # async fn example() {
//! let Some(program) = server::program("REDIS_SERVER") else { return };
//! let mut redis = Process::builder(program)
//!     .args(|port, dir| vec!["--port".into(), port.to_string(), "--dir".into(), dir.display().to_string()])
//!     .start();
//! let proxy = FaultProxy::start(redis.addr()).await;
//! proxy.set_once(Fault::ResetAfterForward.when("HSET"));
//! // A client of `proxy.addr()` loses the reply to its first HSET, which took effect.
//! redis.restart();
//! # }
//! ```

mod fault_proxy;
mod process;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

pub use fault_proxy::{Fault, FaultProxy, Rule};
pub use process::{Process, ProcessBuilder};

/// Ports for servers; below the ports that the system gives to outgoing connections, which would take the port
/// of a server that is down for a moment.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Answers the URL of a shared server, from `MP_TEST_<name>_URL`.
///
/// # Panics
/// Panics when it is not set and `MP_TEST_REQUIRE=1`.
#[must_use]
pub fn url(name: &str) -> Option<String> {
    found(&format!("MP_TEST_{name}_URL"), |variable| variable)
}

/// Answers the addresses of shared brokers, such as `127.0.0.1:9092`, from `MP_TEST_<name>_BROKERS`.
///
/// # Panics
/// Panics when it is not set and `MP_TEST_REQUIRE=1`.
#[must_use]
pub fn brokers(name: &str) -> Option<String> {
    found(&format!("MP_TEST_{name}_BROKERS"), |variable| variable)
}

/// Answers the program that a test starts servers with, from `MP_TEST_<name>`, else from the search path.
///
/// The name on the search path is in lower case with dashes: `REDIS_SERVER` is `redis-server`.
///
/// # Panics
/// Panics when it names no file, and when there is none and `MP_TEST_REQUIRE=1`.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let variable = format!("MP_TEST_{name}");
    let program = found(&variable, |value| value.or_else(|| on_search_path(&read("PATH")?, name)))?;
    let program = PathBuf::from(program);
    assert!(program.is_file(), "{variable} names no file: set it to a program, or unset it");
    Some(program)
}

/// Answers a port of the loopback address that nobody listens on.
///
/// # Panics
/// Panics when there is none.
#[must_use]
pub fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(1_000);
    ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).expect("a free port")
}

fn found(variable: &str, or_else: impl FnOnce(Option<String>) -> Option<String>) -> Option<String> {
    let value = or_else(read(variable));
    if value.is_none() {
        skip(variable, read("MP_TEST_REQUIRE").as_deref());
    }
    value
}

fn skip(variable: &str, require: Option<&str>) {
    assert_ne!(
        require,
        Some("1"),
        "{variable} is not set, and MP_TEST_REQUIRE=1 allows no skipping: run `scripts/test-servers`, which sets it"
    );
    eprintln!("SKIP: {variable} is not set");
}

fn on_search_path(path: &str, name: &str) -> Option<String> {
    let file = name.to_lowercase().replace('_', "-");
    let mut programs = std::env::split_paths(path).map(|folder| folder.join(&file));
    programs.find(|program| program.is_file())?.into_os_string().into_string().ok()
}

#[expect(clippy::disallowed_methods, reason = "where tests find servers is no configuration of the platform")]
fn read(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_listened_on() {
        TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).expect("it is free");
    }

    #[test]
    fn a_program_is_found_on_the_search_path() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("redis-server");
        std::fs::write(&program, "").unwrap();
        let path = format!("/nowhere:{}", folder.path().display());
        assert_eq!(on_search_path(&path, "REDIS_SERVER"), Some(program.display().to_string()));
        assert_eq!(on_search_path(&path, "MONGOD"), None);
    }

    #[test]
    fn a_missing_server_is_skipped() {
        skip("MP_TEST_EXAMPLE_URL", None);
        skip("MP_TEST_EXAMPLE_URL", Some("0"));
    }

    #[test]
    #[should_panic(expected = "MP_TEST_EXAMPLE_URL is not set")]
    fn a_missing_server_fails_where_it_is_required() {
        skip("MP_TEST_EXAMPLE_URL", Some("1"));
    }
}
