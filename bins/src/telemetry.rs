//! What a program says about itself: log lines on standard error, metrics for whoever asks.

use std::fmt;
use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Quiets engines and drivers, unless the configured filter names them.
const QUIET_FILTER: &str = "fjall=warn,lsm_tree=warn,mongodb=warn,redis=warn,aws_config=warn,\
    aws_smithy_runtime=warn,h2=warn,hyper_util=warn,tonic=warn,tower=warn";

/// Upper ends of the buckets that durations are counted in, in seconds: a quick call to a slow refresh.
const DURATION_BUCKETS: [f64; 11] = [0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// How often durations are sorted into their buckets when nobody reads the metrics, so that they do not pile up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts logging; `filter` is a level or a list of directives such as `info,mini_platform_core=debug`.
///
/// # Errors
/// The filter cannot be understood, or logging was started before.
pub fn init(filter: &str) -> anyhow::Result<()> {
    // The own steps of engines and drivers are of interest only to who asks for them.
    let filter = format!("{QUIET_FILTER},{filter}");
    let filter = EnvFilter::try_new(filter).context("log.level is no level and no list of directives")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}

/// The metrics of the process, as Prometheus reads them. The default collects nothing.
#[derive(Clone, Default)]
pub struct Metrics(Option<PrometheusHandle>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.is_some()).finish()
    }
}

impl Metrics {
    /// Collects the metrics of this process from now on. A program does so once, before anything else runs.
    ///
    /// # Errors
    /// Somebody collects them already.
    pub fn install() -> anyhow::Result<Self> {
        let handle = PrometheusBuilder::new()
            .set_buckets(&DURATION_BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .context("metrics cannot be collected")?;
        mini_platform_core::telemetry::describe();
        Ok(Self(Some(handle)))
    }

    /// Writes the metrics of this moment.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// Keeps the memory of the metrics bounded until told to stop, however seldom they are read.
    pub async fn keep_up(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
            if let Some(handle) = &self.0 {
                handle.run_upkeep();
            }
        }
    }
}
