//! MongoDB, Redis and a Kafka broker of one's own, each on disk, so that it is there again after a kill.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mini_platform_core::testkit::server::{self, Process};
use mongodb::Client;
use mongodb::bson::doc;
use tokio::runtime::Runtime;

use super::program::DIES_WITH_US;

/// How long a connection to a server may be silent.
const SILENCE: Duration = Duration::from_secs(5);

/// Starts a server that dies with us.
fn start(program: PathBuf, arguments: impl Fn(u16, &Path) -> Vec<String> + Send + Sync + 'static) -> Process {
    let [setpriv, words @ ..] = DIES_WITH_US;
    let builder = Process::builder(setpriv).args(move |port, dir| {
        let own = words.iter().map(|word| (*word).to_owned()).chain([program.display().to_string()]);
        own.chain(arguments(port, dir)).collect()
    });
    builder.start()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A replica set of one.
pub(crate) fn mongodb() -> Option<Process> {
    let process = start(server::program("MONGOD")?, |port, dir| {
        let dir = dir.display();
        words(&format!(
            "--port {port} --dbpath {dir} --bind_ip 127.0.0.1 --replSet rs0 --oplogSize 64 \
             --wiredTigerCacheSizeGB 0.25 --setParameter diagnosticDataCollectionEnabled=false"
        ))
    });
    let uri = format!("mongodb://{}/?directConnection=true", process.addr());
    let member = doc! { "_id": 0, "host": process.addr().to_string() };
    let settings = doc! { "electionTimeoutMillis": 1000 };
    let config = doc! { "_id": "rs0", "members": [member], "settings": settings };
    let initiated = async {
        let client = Client::with_uri_str(uri).await?;
        client.database("admin").run_command(doc! { "replSetInitiate": config }).await
    };
    Runtime::new().unwrap().block_on(initiated).unwrap();
    Some(process)
}

/// A server that has on disk whatever it answers.
pub(crate) fn redis() -> Option<Process> {
    let program = server::program("REDIS_SERVER")?;
    Some(start(program, |port, dir| {
        let dir = dir.display();
        words(&format!("--port {port} --bind 127.0.0.1 --dir {dir} --appendonly yes --appendfsync always"))
    }))
}

/// A broker on SQLite.
pub(crate) fn kafka() -> Option<Process> {
    let program = server::program("TANSU")?;
    Some(start(program, |port, _| {
        let address = format!("tcp://127.0.0.1:{port}");
        words(&format!(
            "broker --storage-engine=sqlite://t.db --listener-url={address} --advertised-listener-url={address}"
        ))
    }))
}

/// Returns the status and the body of what a program answers to a GET; `None` when it does not.
pub(crate) fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(SILENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
