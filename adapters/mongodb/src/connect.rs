//! From a connection string to a store that is known to work.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{
    Acknowledgment, ClientOptions, DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria,
    WriteConcern,
};
use mongodb::{Client, Database};

use crate::config::MongoConfig;
use crate::error::{ConnectError, Failure, uri_part};
use crate::index::{self, Index};
use crate::timeline;

/// The oldest server that the driver speaks with.
pub(crate) const OLDEST_VERSION: &str = "4.4";

/// How long the indexes of a store that has events, but not our indexes, may take: ten minutes.
///
/// At 100,000 events a second, which is slow, this is enough for sixty million. On a store that has its indexes
/// nothing is built.
const INDEX_BUILD_LIMIT: Duration = Duration::from_secs(600);

/// The longest name of a database, in bytes.
const MAX_DATABASE_BYTES: usize = 63;

/// The name under which the server's log and statistics show our connections.
const APP_NAME: &str = "mini-platform";

/// A database that was checked.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) database: Database,
    /// Whether distinct clients come out of their index in order.
    pub(crate) ordered_groups: bool,
}

/// Waits for a call, at most so long.
pub(crate) async fn bounded<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, call).await.unwrap_or(Err(Failure::TimedOut(limit)))
}

/// Connects, and checks what would otherwise go wrong later.
pub(crate) async fn open(config: &MongoConfig) -> Result<Connection, ConnectError> {
    check_name(config.database())?;
    let limit = config.timeout();
    let client = Client::with_options(options(config).await?).map_err(|_| {
        // All that the driver checks here is whether the options go together.
        ConnectError::InvalidUri { part: crate::error::UriPart::Options }
    })?;
    let checked = check(&client, config, limit).await;
    if checked.is_err() {
        // Else its monitors go on until the last handle is gone.
        let _ = tokio::time::timeout(limit, client.clone().shutdown().immediate(true)).await;
    }
    let (database, ordered_groups) = checked?;
    Ok(Connection { client, database, ordered_groups })
}

async fn check(
    client: &Client,
    config: &MongoConfig,
    limit: Duration,
) -> Result<(Database, bool), ConnectError> {
    let sharded = check_server(client, limit).await?;
    let database = client.database_with_options(config.database(), concerns(limit));
    tokio::time::timeout(INDEX_BUILD_LIMIT, index::ensure(&database))
        .await
        .unwrap_or_else(|_| Err(ConnectError::of(Failure::TimedOut(INDEX_BUILD_LIMIT))))?;
    let ordered = !sharded && groups_come_in_order(&database, limit).await?;
    Ok((database, ordered))
}

async fn options(config: &MongoConfig) -> Result<ClientOptions, ConnectError> {
    let uri = config.uri();
    let limit = config.timeout();
    let parsed = tokio::time::timeout(limit, ClientOptions::parse(uri).into_future());
    let mut options = match parsed.await {
        Err(_) => return Err(ConnectError::of(Failure::TimedOut(limit))),
        Ok(Err(error)) => {
            return Err(match &*error.kind {
                ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. } => {
                    ConnectError::InvalidUri { part: uri_part(uri, &error) }
                }
                _ => ConnectError::of(Failure::from(error)),
            });
        }
        Ok(Ok(options)) => options,
    };
    options.app_name = Some(APP_NAME.to_owned());
    options.max_pool_size = Some(config.max_pool());
    options.connect_timeout = Some(limit);
    // Earlier than our own limit, because the driver can say which servers it tried.
    options.server_selection_timeout = Some(limit * 3 / 4);
    options.retry_writes = Some(true);
    options.retry_reads = Some(true);
    Ok(options)
}

fn check_name(name: &str) -> Result<(), ConnectError> {
    let allowed = |character: char| {
        !character.is_whitespace() && !character.is_control() && !"/\\.\"$*<>:|?".contains(character)
    };
    if (1..=MAX_DATABASE_BYTES).contains(&name.len()) && name.chars().all(allowed) {
        Ok(())
    } else {
        Err(ConnectError::InvalidDatabaseName { name: name.to_owned() })
    }
}

/// What every call goes by: durable on a majority, read from the primary what a majority has.
fn concerns(limit: Duration) -> DatabaseOptions {
    let write = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(limit).build();
    DatabaseOptions::builder()
        .read_concern(ReadConcern::majority())
        .write_concern(write)
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .build()
}

/// Asks the server who it is. Says whether it stands before a sharded cluster.
async fn check_server(client: &Client, limit: Duration) -> Result<bool, ConnectError> {
    let admin = client.database("admin");
    let ask = async |command: Document| {
        bounded(limit, async { Ok(admin.run_command(command).await?) }).await.map_err(ConnectError::of)
    };
    let info = ask(doc! { "buildInfo": 1 }).await?;
    check_version(info.get_str("version").unwrap_or_default())?;
    let hello = ask(doc! { "hello": 1 }).await?;
    let sharded = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    if sharded || hello.contains_key("setName") { Ok(sharded) } else { Err(ConnectError::NotReplicaSet) }
}

fn check_version(found: &str) -> Result<(), ConnectError> {
    let numbers = |version: &str| {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    if numbers(found) >= numbers(OLDEST_VERSION) {
        Ok(())
    } else {
        Err(ConnectError::TooOld { found: found.to_owned(), needed: OLDEST_VERSION })
    }
}

/// Whether the server walks an index from client to client, in which case its groups come in order.
async fn groups_come_in_order(database: &Database, limit: Duration) -> Result<bool, ConnectError> {
    for index in index::ALL {
        let plan = bounded(limit, async { Ok(database.run_command(explain(&index)).await?) });
        if !has_distinct_scan(&Bson::Document(plan.await.map_err(ConnectError::of)?)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn explain(index: &Index) -> Document {
    let pipeline: Vec<Document> = timeline::clients_pipeline(index, "", 1, true);
    let aggregate =
        doc! { "aggregate": index.collection, "pipeline": pipeline, "cursor": {}, "hint": index.name };
    doc! { "explain": aggregate, "verbosity": "queryPlanner" }
}

fn has_distinct_scan(plan: &Bson) -> bool {
    match plan {
        Bson::Document(document) => {
            document.get_str("stage").is_ok_and(|stage| stage == "DISTINCT_SCAN")
                || document.values().any(has_distinct_scan)
        }
        Bson::Array(array) => array.iter().any(has_distinct_scan),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_must_be_one_that_the_driver_speaks_with() {
        for version in ["4.4.0", "4.4", "5.0.32", "6.0.5", "8.0.0-rc1", "10.0.1"] {
            assert!(check_version(version).is_ok(), "{version} must be taken");
        }
        for version in ["4.2.24", "3.6.0", "", "new"] {
            let refused = check_version(version).unwrap_err();
            assert!(matches!(refused, ConnectError::TooOld { found, .. } if found == version));
        }
    }

    #[test]
    fn a_name_of_a_database_has_no_special_character() {
        assert!(check_name("mini_platform-1").is_ok());
        for name in ["", "a b", "a/b", "a.b", "$a", "a\0", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name:?} must be refused");
        }
    }
}
