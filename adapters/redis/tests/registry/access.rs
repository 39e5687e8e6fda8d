//! Who may use the server, and over what connection.

use std::time::{Duration, Instant};

use mini_platform_core::error::FaultKind;
use mini_platform_core::port::FraudRegistry;
use mini_platform_core::testkit::server::{FaultProxy, free_port};
use mini_platform_core::testkit::{fraud_list, list_version};
use mini_platform_redis::testkit::{RedisCluster, RedisSentinels, RedisServer};
use mini_platform_redis::{ConnectError, Redis, RedisConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::common::{fault_kind, feed, hits, registry_of};

/// What a feeder may do, as the README says it.
const FEEDER: &[&str] = &[
    "+info", "+get", "+hlen", "+hmget", "+hscan", "+hsetnx", "+expire", "+unlink", "+eval", "+set",
    "+persist", "+rename",
];

/// What a worker may do, as the README says it.
const WORKER: &[&str] = &["+info", "+get", "+hlen", "+hmget"];

fn user<'a>(name: &'a str, rights: &[&'a str]) -> Vec<&'a str> {
    [&["ACL", "SETUSER", name, "on", ">secret", "~{mp:list:*"], rights].concat()
}

fn add_user(server: &RedisServer, name: &str, rights: &[&str]) -> RedisConfig {
    server.ask::<()>(&user(name, rights));
    RedisConfig::new(format!("redis://{name}:secret@127.0.0.1:{}", server.port()))
}

async fn refused(config: &RedisConfig) -> ConnectError {
    let error = Redis::connect(config).await.unwrap_err();
    let mut shown = format!("{error} {error:?}");
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        shown = format!("{shown} {source} {source:?}");
        cause = source;
    }
    assert!(!shown.contains("secret") && !shown.contains("wrong"), "no password is shown: {shown}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_or_missing_password_is_denied() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "secret"]) else { return };
    for login in ["", ":wrong@", "nobody:secret@"] {
        let url = format!("redis://{login}127.0.0.1:{}", server.port());
        let error = refused(&RedisConfig::new(url)).await;
        assert!(matches!(error, ConnectError::Denied { .. }), "{login}: {error:?}");
    }
    let url = format!("redis://:secret@127.0.0.1:{}", server.port());
    Redis::connect(&RedisConfig::new(url)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_rights_is_told_so() {
    let Some(server) = RedisServer::start() else { return };
    for rights in [&["+ping"][..], &["+@all", "resetkeys", "~other:*"]] {
        let error = refused(&add_user(&server, "weak", rights)).await;
        assert!(matches!(error, ConnectError::Forbidden { .. }), "{rights:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough_and_a_worker_cannot_change_the_list() {
    let Some(server) = RedisServer::start() else { return };
    let feeder = registry_of(&add_user(&server, "feeder", FEEDER)).await;
    for published_at in 1..=6 {
        feed(&feeder, published_at, &["bad"]).await;
    }
    feeder.rollback(&list_version(5)).await.unwrap();
    let mut entries = feeder.entries(&list_version(5)).await.unwrap();
    futures_util::StreamExt::next(&mut entries).await.unwrap().unwrap();
    let worker = registry_of(&add_user(&server, "worker", WORKER)).await;
    assert_eq!(hits(&worker, &["bad", "good"]).await.unwrap(), [true, false]);
    assert_eq!(worker.history().await.unwrap().len(), 5);
    assert_eq!(fault_kind(worker.replace(fraud_list(7, &["x"])).await), FaultKind::Denied);
    assert_eq!(fault_kind(worker.rollback(&list_version(6)).await), FaultKind::Denied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough_on_a_cluster() {
    let Some(cluster) = RedisCluster::start() else { return };
    cluster.ask_all(&user("feeder", &[FEEDER, &["+cluster|slots"]].concat()));
    let url = cluster.url().replace("://", "://feeder:secret@");
    feed(&registry_of(&RedisConfig::new(url)).await, 1, &["bad"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough_behind_sentinels() {
    let Some(sentinels) = RedisSentinels::start() else { return };
    sentinels.ask_all(&user("feeder", &[FEEDER, &["+role"]].concat()));
    let url = sentinels.url().replace("://", "://feeder:secret@");
    feed(&registry_of(&RedisConfig::new(url)).await, 1, &["bad"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_taken_away_later_are_denied_and_given_back_work() {
    let Some(server) = RedisServer::start() else { return };
    let config = add_user(&server, "feeder", FEEDER);
    let registry = registry_of(&config).await;
    feed(&registry, 1, &["bad"]).await;
    server.ask::<()>(&["ACL", "SETUSER", "feeder", "-hmget"]);
    assert_eq!(fault_kind(hits(&registry, &["bad"]).await), FaultKind::Denied);
    server.ask::<()>(&["ACL", "SETUSER", "feeder", "+hmget"]);
    assert_eq!(hits(&registry, &["bad"]).await.unwrap(), [true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_said_at_once_and_silence_within_the_timeout() {
    let error = refused(&RedisConfig::new(format!("redis://127.0.0.1:{}", free_port()))).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    let Some(server) = RedisServer::start() else { return };
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", server.port())).await;
    proxy.set(mini_platform_core::testkit::server::Fault::Stall);
    let config = RedisConfig::new(format!("redis://127.0.0.1:{}", proxy.port()));
    let asked = Instant::now();
    let error = refused(&config.with_timeout(Duration::from_millis(300))).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_prefix_that_would_break_keys_is_refused() {
    let config = RedisConfig::new("redis://127.0.0.1:1").with_key_prefix("a}b");
    assert!(matches!(refused(&config).await, ConnectError::InvalidKeyPrefix));
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Starts a server with a certificate for a name; answers it with its TLS port.
    fn start_server(&self, name: &str) -> Option<(RedisServer, tempfile::TempDir, u16)> {
        let (dir, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        let write = |file: &str, text: String| {
            let file = dir.path().join(file);
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        };
        let (certificate, key) =
            (write("server.pem", certificate.pem()), write("server.key", key.serialize_pem()));
        let (authority, port) = (write("ca.pem", self.pem()), free_port());
        let server = RedisServer::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority,
            "--tls-auth-clients",
            "no",
        ])?;
        Some((server, dir, port))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_private_authority_works_and_nothing_less_does() {
    let authority = Authority::new();
    let Some((server, _dir, port)) = authority.start_server("127.0.0.1") else { return };
    let config = RedisConfig::new(format!("rediss://127.0.0.1:{port}"));
    let registry = registry_of(&config.clone().with_ca_certificate(authority.pem())).await;
    feed(&registry, 1, &["bad"]).await;
    assert_eq!(hits(&registry, &["bad", "good"]).await.unwrap(), [true, false]);
    for wrong in [config.clone(), config.with_ca_certificate(Authority::new().pem())] {
        let error = refused(&wrong).await;
        assert!(matches!(error, ConnectError::Tls { .. }), "an unknown authority: {error:?}");
    }
    let plain = RedisConfig::new(format!("rediss://127.0.0.1:{}", server.port()));
    let error = refused(&plain.with_ca_certificate(authority.pem())).await;
    assert!(
        matches!(error, ConnectError::Tls { .. } | ConnectError::Unreachable { .. }),
        "no TLS: {error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let Some((_server, _dir, port)) = authority.start_server("redis.example") else { return };
    let config = RedisConfig::new(format!("rediss://127.0.0.1:{port}")).with_ca_certificate(authority.pem());
    let error = refused(&config).await;
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}
