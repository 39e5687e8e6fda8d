//! From configuration to a dispatcher and its HTTP server, for whichever program runs them.

use std::sync::Arc;

use mini_platform_core::dispatcher::{
    Dispatcher, DispatcherConfig, LeastInFlight, LoadBalancer, P2cEwma, Rendezvous, RoundRobin,
};

use crate::config::{Config, DispatchConfig, Policy};
use crate::http::HttpSettings;
use crate::random::random_seed;

/// Makes a dispatcher without members. Call it inside of a tokio runtime.
#[must_use]
pub fn dispatcher(config: &DispatchConfig) -> Dispatcher {
    let settings = DispatcherConfig::default()
        .with_timeout(config.timeout)
        .with_max_batch(config.max_batch)
        .with_queue(config.queue)
        .with_max_in_flight(config.max_in_flight);
    Dispatcher::new(settings, balancer(config.policy))
}

fn balancer(policy: Policy) -> Arc<dyn LoadBalancer> {
    match policy {
        Policy::P2cEwma => Arc::new(P2cEwma::new(random_seed())),
        Policy::RoundRobin => Arc::new(RoundRobin::default()),
        Policy::LeastInFlight => Arc::new(LeastInFlight::default()),
        Policy::Rendezvous => Arc::new(Rendezvous::default()),
    }
}

/// Takes the settings of the HTTP server from the configuration.
#[must_use]
pub fn http_settings(config: &Config) -> HttpSettings {
    let http = &config.http;
    HttpSettings {
        listen: http.listen,
        max_body: http.max_body,
        max_line: http.max_line,
        max_array: http.max_array,
        header_timeout: http.header_timeout,
        body_timeout: http.body_timeout,
        max_connections: http.max_connections,
        shutdown_grace: http.shutdown_grace,
        max_list_age: config.feeder.max_age,
        ..HttpSettings::new(config.events.default_currency)
    }
}
