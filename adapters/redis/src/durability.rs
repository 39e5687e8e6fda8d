//! Whether servers keep what they acknowledge.

use redis::cmd;

use crate::connect::{info_field, refusal};
use crate::connection::Connection;
use crate::error::{ConnectError, Failure};

/// How a server is set up that may lose what it acknowledged, and how it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weakness {
    found: &'static str,
    needed: &'static str,
}

const NO_LOG: Weakness = Weakness { found: "keeps no log of its writes", needed: "appendonly yes" };
const NO_SYNC: Weakness = Weakness { found: "never syncs its log to disk", needed: "appendfsync always" };
const EVICTS: Weakness =
    Weakness { found: "drops keys when its memory is full", needed: "maxmemory-policy noeviction" };

/// Checks every server that may hold parked events: the master, or all masters of a cluster.
pub(crate) async fn check(connection: &Connection) -> Result<(), ConnectError> {
    let refuse = |failure| refusal(connection.addresses(), failure);
    let weak = |Weakness { found, needed }| ConnectError::NotDurable {
        address: connection.addresses(),
        found,
        needed,
    };
    let infos: Vec<String> = connection.ask_masters(&cmd("INFO")).await.map_err(refuse)?;
    if let Some(weakness) = infos.iter().find_map(|info| weakness_of(info)) {
        return Err(weak(weakness));
    }
    match connection.ask_masters::<Vec<String>>(cmd("CONFIG").arg("GET").arg("appendfsync")).await {
        Ok(settings) => {
            let settings = settings.iter().filter_map(|setting| setting.last());
            check_syncs(settings.map(String::as_str)).map_err(weak)
        }
        // Not everybody may ask for it, and not every server tells.
        Err(Failure::Server(_)) => {
            tracing::warn!(
                "redis does not say when it syncs its log to disk: unless appendfsync is always, a power cut loses parked events"
            );
            Ok(())
        }
        Err(failure) => Err(refuse(failure)),
    }
}

fn weakness_of(info: &str) -> Option<Weakness> {
    if info_field(info, "aof_enabled") != "1" {
        return Some(NO_LOG);
    }
    // The other policies drop only what has an expiry, which nothing in a parking lot has.
    info_field(info, "maxmemory_policy").starts_with("allkeys").then_some(EVICTS)
}

fn check_syncs<'a>(settings: impl Iterator<Item = &'a str>) -> Result<(), Weakness> {
    for appendfsync in settings {
        match appendfsync {
            "no" => return Err(NO_SYNC),
            "always" => {}
            _ => tracing::warn!(
                redis.appendfsync = appendfsync,
                "redis may lose the last two seconds of parked events in a power cut; set appendfsync always"
            ),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_must_keep_a_log_and_must_not_evict() {
        for (aof, policy, weakness) in [
            ("1", "noeviction", None),
            ("1", "volatile-lru", None),
            ("0", "noeviction", Some(NO_LOG)),
            ("1", "allkeys-lru", Some(EVICTS)),
            ("1", "allkeys-random", Some(EVICTS)),
        ] {
            let info = format!("# Memory\r\nmaxmemory_policy:{policy}\r\n# P\r\naof_enabled:{aof}\r\n");
            assert_eq!(weakness_of(&info), weakness, "{aof} {policy}");
        }
        assert_eq!(weakness_of(""), Some(NO_LOG), "who says nothing is not trusted");
    }

    #[test]
    fn one_server_that_does_not_sync_is_enough() {
        assert_eq!(check_syncs(["always", "everysec"].into_iter()), Ok(()));
        assert_eq!(check_syncs(["always", "no"].into_iter()), Err(NO_SYNC));
    }
}
