//! A server that is not there, or not as configured, is named at once.

use std::time::{Duration, Instant};

use mini_platform_bins::backend::{Connections, Port};
use mini_platform_bins::config::{Config, Need, Sources};
use mini_platform_core::domain::EventId;
use mini_platform_core::error::{FaultKind, StoreError};
use mini_platform_core::testkit::server::free_port;

use crate::support::servers::Servers;
use crate::support::{complaint, run};

fn start(settings: &[&str]) -> (Option<i32>, String) {
    let data = tempfile::tempdir().unwrap();
    let data = format!("embedded.dir={}", data.path().display());
    let sets: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let output = run(&[&["up", "--set", "http.listen=127.0.0.1:0", "--set", &data][..], &sets].concat());
    (output.status.code(), complaint(&output))
}

#[test]
fn a_server_that_is_not_there_ends_the_start_with_its_address() {
    let port = free_port();
    let mongodb = [
        "adjacency.backend=memory".to_owned(),
        "registry.backend=memory".to_owned(),
        "store.backend=mongodb".to_owned(),
        format!("mongodb.uri=mongodb://ann:hunter2@127.0.0.1:{port}"),
        "mongodb.timeout=2s".to_owned(),
    ];
    let redis = [
        "adjacency.backend=redis".to_owned(),
        "registry.backend=redis".to_owned(),
        "store.backend=memory".to_owned(),
        format!("redis.url=redis://ann:hunter2@127.0.0.1:{port}"),
        "redis.timeout=2s".to_owned(),
    ];
    for settings in [&mongodb[..], &redis] {
        let started = Instant::now();
        let (code, told) = start(&crate::borrowed(settings));
        assert_eq!(code, Some(70), "{told}");
        assert!(told.contains(&format!("127.0.0.1:{port}")), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        assert!(started.elapsed() < Duration::from_secs(30), "it fails fast");
    }
}

#[test]
fn a_url_that_is_none_is_a_mistake_in_the_configuration() {
    let stores = ["store.backend=memory", "adjacency.backend=memory"];
    let redis = [&stores[..], &["registry.backend=redis", "redis.url=http://:hunter2@localhost"]].concat();
    let s3 = [
        &stores[..],
        &["registry.backend=memory", "feeder.source=s3://bucket/key", "s3.endpoint=localhost:9000"],
    ]
    .concat();
    let mongodb = ["store.backend=mongodb", "mongodb.uri=http://ann:hunter2@localhost"];
    let mongodb = [&mongodb[..], &["adjacency.backend=memory", "registry.backend=memory"]].concat();
    for (settings, section) in [(redis, "[redis]"), (s3, "[s3]"), (mongodb, "[mongodb]")] {
        let (code, told) = start(&settings);
        assert_eq!(code, Some(78), "{told}");
        assert!(told.contains(section) && !told.contains("hunter2"), "{told}");
    }
}

#[tokio::test]
async fn nothing_is_left_to_the_driver_of_mongodb_when_the_runtime_ends() {
    let Some(servers) = Servers::find() else { return };
    let settings = servers.settings();
    let flags = settings.iter().map(|setting| setting.split_once('=').unwrap());
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let sources = Sources { flags, ..Sources::default() };
    let config = Config::load_for(&sources, &[Need::SharedStores]).unwrap().config;
    let connections = Connections::open(&config, &[Port::Events]).await.unwrap();
    let events = connections.events(&config).unwrap();
    let id = EventId::new("a").unwrap();
    assert!(events.get(&id).await.is_ok());
    connections.close().await;
    let StoreError::Fault(fault) = events.get(&id).await.unwrap_err() else {
        panic!("a store fails by a fault")
    };
    assert_eq!(fault.kind(), FaultKind::Unavailable);
}
