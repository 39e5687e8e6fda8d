//! Probes.

use std::sync::Arc;
use std::time::Duration;

use mini_platform_bins::bundled::BundledSource;
use mini_platform_bins::http::HttpSettings;
use mini_platform_bins::telemetry::Metrics;
use mini_platform_core::feeder::{Feeder, ListSource};
use mini_platform_core::memory::MemoryFraudRegistry;
use mini_platform_core::port::FraudRegistry;
use serde_json::Value;

use crate::support::{TestApp, settings};

async fn ready(app: &TestApp) -> (u16, Value) {
    let answer = app.get("/readyz").await;
    let body = answer.json();
    assert_eq!(body["ready"], answer.status == 200);
    (answer.status, body)
}

#[tokio::test]
async fn a_service_with_a_worker_and_a_list_is_ready() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/livez").await.status, 200);
    let (status, body) = ready(&app).await;
    assert_eq!(status, 200, "{body}");
    for check in ["worker", "fraud_list", "running"] {
        assert_eq!(body["checks"][check]["ok"], true, "{body}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let app = TestApp::start_without_worker(settings()).await;
    let (status, body) = ready(&app).await;
    assert_eq!((status, &body["checks"]["worker"]["ok"]), (503, &Value::Bool(false)), "{body}");
    let app = TestApp::start_without_list(settings()).await;
    let (status, body) = ready(&app).await;
    assert_eq!((status, &body["checks"]["fraud_list"]["ok"]), (503, &Value::Bool(false)), "{body}");
    assert_eq!(app.get("/livez").await.status, 200, "an unready service lives");
}

#[tokio::test]
async fn a_list_grows_old_unless_a_feeder_somewhere_confirms_it() {
    let max_list_age = Duration::from_secs(3_600);
    let app = TestApp::start_with(HttpSettings { max_list_age, ..settings() }).await;
    app.clock.set("2026-02-01T01:00:00Z");
    assert_eq!(ready(&app).await.0, 200, "at its maximum age a list still counts");
    app.clock.set("2026-02-01T01:00:01Z");
    let (status, body) = ready(&app).await;
    assert_eq!((status, &body["checks"]["fraud_list"]["ok"]), (503, &Value::Bool(false)), "{body}");
    let list = app.registry.in_force().await.unwrap().unwrap();
    app.registry.confirm(&list.version).await.unwrap();
    assert_eq!(ready(&app).await.0, 200, "there is no newer list");
    let shown = app.get("/v1/fraud-list").await.json();
    assert_eq!(shown["loaded_at"], "2026-02-01T00:00:00Z");
    assert_eq!(shown["confirmed_at"], "2026-02-01T01:00:01Z");
    app.clock.set("2026-02-01T02:00:02Z");
    assert_eq!(ready(&app).await.0, 503);
}

#[tokio::test]
async fn metrics_are_answered_as_prometheus_reads_them() {
    let app = TestApp::start().await;
    let answer = app.get("/metrics").await;
    assert_eq!((answer.status, answer.text()), (200, ""), "nothing is collected by itself");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let metrics = Metrics::install().unwrap();
    assert!(Metrics::install().is_err(), "one collector a process");
    let app = TestApp::start_with_metrics(settings(), metrics).await;
    metrics_of_a_refresh().await;
    let answer = app.get("/metrics").await;
    let text = answer.text();
    for line in [
        "# TYPE mini_platform_feeder_refreshes_total counter",
        "mini_platform_feeder_refreshes_total{result=\"replaced\"} 1",
        "mini_platform_feeder_refresh_duration_seconds_bucket{le=\"+Inf\"} 1",
    ] {
        assert!(text.contains(line), "{line} must be in\n{text}");
    }
    assert_eq!(app.post("/metrics", "{}").await.status, 405);
}

/// Refreshes a list once, which the feeder counts.
async fn metrics_of_a_refresh() {
    let registry = Arc::new(MemoryFraudRegistry::default());
    let mut feeder = Feeder::new(registry, ListSource::new(Arc::new(BundledSource)));
    feeder.refresh().await.unwrap();
}

#[tokio::test]
async fn a_service_that_drains_is_unready_and_serves_on() {
    let app = TestApp::start().await;
    app.draining.cancel();
    let (status, body) = ready(&app).await;
    assert_eq!((status, body["checks"]["running"]["detail"].as_str()), (503, Some("shutting down")));
    assert_eq!(app.get("/v1/fraud-list").await.status, 200);
}
