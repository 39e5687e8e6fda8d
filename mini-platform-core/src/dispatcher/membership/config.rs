//! How a cluster takes in workers.

use std::time::Duration;

use crate::domain::JoinToken;

/// The shortest lease: below it, scheduling alone would end memberships.
const MIN_LEASE: Duration = Duration::from_millis(30);

/// The longest lease: a worker that is gone is kept for that long.
const MAX_LEASE: Duration = Duration::from_secs(3600);

/// How many heartbeats there are in a lease: two may get lost.
const HEARTBEATS_A_LEASE: u32 = 3;

/// How a cluster takes in workers; start from the default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// The most members, with those that are joining. Default 128.
    pub max_workers: usize,
    /// How long a membership lasts after its last heartbeat. Default 5 s, and held to 30 ms to 1 h. Heartbeats are
    /// asked for three times as often.
    pub lease: Duration,
    /// How long a worker that joins may take to answer when it is dialled back. Default 2 s.
    pub dial_timeout: Duration,
    /// The secret that workers must know; an empty one lets all of them in.
    pub token: JoinToken,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            max_workers: 128,
            lease: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(2),
            token: JoinToken::default(),
        }
    }
}

impl ClusterConfig {
    /// Sets the most members.
    #[must_use]
    pub fn with_max_workers(mut self, workers: usize) -> Self {
        self.max_workers = workers;
        self
    }

    /// Sets how long a membership lasts after its last heartbeat.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how long a worker that joins may take to answer when it is dialled back.
    #[must_use]
    pub fn with_dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// Sets the secret that workers must know.
    #[must_use]
    pub fn with_token(mut self, token: JoinToken) -> Self {
        self.token = token;
        self
    }

    /// Returns how often members are asked to renew their lease.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.ttl() / HEARTBEATS_A_LEASE
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.lease.clamp(MIN_LEASE, MAX_LEASE)
    }

    pub(crate) fn lets_in(&self, token: &JoinToken) -> bool {
        self.token.reveal().is_empty() || self.token.matches(token)
    }
}
