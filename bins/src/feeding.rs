//! From configuration to a feeder, for whichever program runs it.

use std::sync::Arc;

use anyhow::Context;
use mini_platform_core::feeder::{Feeder, ListLimits, ListSource};
use mini_platform_core::port::{FraudRegistry, FraudSource};

use crate::config::FeederConfig;
use crate::random::random_seed;

/// Makes the feeder of a registry, with the limits and the schedule of the configuration.
///
/// # Errors
/// There is no source.
pub fn feeder(
    config: &FeederConfig,
    registry: Arc<dyn FraudRegistry>,
    sources: Vec<Arc<dyn FraudSource>>,
) -> anyhow::Result<Feeder> {
    let limits = ListLimits::default()
        .with_max_bytes(config.max_size)
        .with_max_entries(config.max_entries)
        .with_max_malformed(config.max_malformed);
    let mut sources = sources
        .into_iter()
        .map(|source| ListSource::new(source).with_format(config.format).with_column(config.column.as_str()));
    let first = sources.next().context("feeder.source names no source")?;
    let feeder = sources.fold(Feeder::new(registry, first), Feeder::with_source);
    Ok(feeder
        .with_limits(limits)
        .with_max_shrink(config.max_shrink)
        .with_interval(config.interval)
        .with_jitter(config.jitter, random_seed()))
}
