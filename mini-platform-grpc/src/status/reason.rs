//! What failed, by its name on the wire.

/// The reason in a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The message breaks a rule.
    InvalidMessage,
    /// No fraud list was ever loaded.
    NoFraudList,
    /// The registry failed to screen a batch.
    ScreeningFailed,
    /// The event store failed, or what a fetch reads.
    StoreFailed,
    /// The adjacency store failed to link a batch.
    LinkingFailed,
    /// The registry failed to answer a fetch.
    RegistryFailed,
    /// The worker itself failed.
    WorkerFailed,
    /// The dispatcher itself failed.
    DispatcherFailed,
    /// There are more calls than may be.
    Overloaded,
    /// The program is about to stop.
    ShuttingDown,
    /// There is no worker to send it to.
    NoWorkers,
    /// The time was up before it was finished.
    Timeout,
    /// A stream was silent for too long.
    Idle,
    /// What was finished could not be logged.
    LogFailed,
    /// What could not be finished could not be parked.
    ParkFailed,
}

impl Reason {
    pub(super) const ALL: [Self; 15] = [
        Self::InvalidMessage,
        Self::NoFraudList,
        Self::ScreeningFailed,
        Self::StoreFailed,
        Self::LinkingFailed,
        Self::RegistryFailed,
        Self::WorkerFailed,
        Self::DispatcherFailed,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::NoWorkers,
        Self::Timeout,
        Self::Idle,
        Self::LogFailed,
        Self::ParkFailed,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidMessage => "INVALID_MESSAGE",
            Self::NoFraudList => "NO_FRAUD_LIST",
            Self::ScreeningFailed => "SCREENING_FAILED",
            Self::StoreFailed => "STORE_FAILED",
            Self::LinkingFailed => "LINKING_FAILED",
            Self::RegistryFailed => "REGISTRY_FAILED",
            Self::WorkerFailed => "WORKER_FAILED",
            Self::DispatcherFailed => "DISPATCHER_FAILED",
            Self::Overloaded => "OVERLOADED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::NoWorkers => "NO_WORKERS",
            Self::Timeout => "TIMEOUT",
            Self::Idle => "IDLE",
            Self::LogFailed => "LOG_FAILED",
            Self::ParkFailed => "PARK_FAILED",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}
