//! What can go wrong, and the one table that turns it into a [`Fault`].

use std::time::Duration;

use mini_platform_core::error::{BoxError, Fault, FaultKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

pub(crate) const BACKEND: &str = "kafka";

/// Kafka cannot be used as it is set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The list of brokers is empty.
    #[error("no Kafka broker is named")]
    NoBrokers,
    /// A broker is not named as it should be.
    #[error("a Kafka broker must be named as host:port, such as 127.0.0.1:9092, not {broker:?}")]
    InvalidBroker {
        /// How it is named.
        broker: String,
    },
    /// Kafka takes no such name.
    #[error("the name of a Kafka topic must be 1 to 249 letters, digits or . _ -, not {topic:?}")]
    InvalidTopic {
        /// The name.
        topic: String,
    },
    /// Nobody answers: start a broker, or correct the address, what the brokers advertise, or the firewall.
    #[error("no Kafka broker can be reached at {brokers}")]
    Unreachable {
        /// Where they should be.
        brokers: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// The brokers refuse who we are or what we may do.
    #[error(
        "Kafka at {brokers} denies access to topic {topic}; see \"Access rights\" in the adapter's README"
    )]
    Denied {
        /// Where they are.
        brokers: String,
        /// What was asked for.
        topic: String,
        /// What they answer.
        #[source]
        source: BoxError,
    },
    /// The topic is missing and may not be made.
    #[error("Kafka at {brokers} has no topic {topic}; make it, or allow that it is made")]
    NoTopic {
        /// Where the brokers are.
        brokers: String,
        /// The topic.
        topic: String,
    },
    /// The topic is missing and could not be made.
    #[error("Kafka at {brokers} has no topic {topic}, and it could not be made")]
    CannotCreateTopic {
        /// Where the brokers are.
        brokers: String,
        /// The topic.
        topic: String,
        /// What they answer.
        #[source]
        source: BoxError,
    },
    /// It answers, but not as a cluster that is ready.
    #[error("Kafka at {brokers} cannot be used now")]
    NotReady {
        /// Where the brokers are.
        brokers: String,
        /// What they answer.
        #[source]
        source: BoxError,
    },
}

/// Why a call failed. Codes have texts of their own: what a broker writes is never quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// A broker, or the driver on its behalf, answered an error.
    #[error("{0}")]
    Code(Code),
    /// No answer in time. Whether a broker acted is unknown.
    #[error("no answer within {limit:?}{}", trouble.map(|code| format!("; last trouble: {code}")).unwrap_or_default())]
    NoAnswer {
        /// How long was waited.
        limit: Duration,
        /// What the driver last complained of.
        trouble: Option<Code>,
    },
    /// A bug of ours or of the driver.
    #[error("{0}")]
    Internal(&'static str),
}

impl Failure {
    /// The one table: what can pass by itself, or by a person's doing, is retried by the caller.
    pub(crate) fn kind(&self) -> FaultKind {
        match self {
            Self::Code(code) => kind_of_code(*code),
            Self::NoAnswer { trouble: Some(code), .. } => kind_of_code(*code),
            Self::NoAnswer { trouble: None, .. } => FaultKind::Timeout,
            Self::Internal(_) => FaultKind::Internal,
        }
    }

    /// Whether the driver tries again by itself.
    pub(crate) fn passes_by_itself(&self) -> bool {
        matches!(self, Self::Code(code) if matches!(
            code,
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::NetworkException
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::OperationTimedOut
                | Code::RequestTimedOut
        ))
    }

    /// Says at what Kafka failed.
    pub(crate) fn during(self, operation: &'static str) -> Fault {
        Fault::new(BACKEND, operation, self.kind()).with_source(self)
    }
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        let code = match error {
            KafkaError::AdminOp(code) => Some(code),
            _ => error.rdkafka_error_code(),
        };
        // What has no code never left the driver; its text may quote a setting.
        code.map_or(Self::Internal("the driver refuses its settings"), Self::Code)
    }
}

fn kind_of_code(code: Code) -> FaultKind {
    match code {
        // Away, or on its way to another leader: the same call succeeds when that is done.
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::Resolve
        | Code::Retry
        | Code::UnknownBroker
        | Code::UnknownGroup
        | Code::UnknownPartition
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::PreferredLeaderNotAvailable
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotController
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::KafkaStorageError
        | Code::OffsetNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch => FaultKind::Unavailable,
        // The producer is at its end, with what it still held; the next call has a new one.
        Code::Fatal
        | Code::GaplessGuarantee
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::OutOfOrderSequenceNumber
        | Code::DuplicateSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping => FaultKind::Unavailable,
        // Records that were to be read were deleted meanwhile: reading from the beginning finds what is left.
        Code::AutoOffsetReset | Code::OffsetOutOfRange => FaultKind::Unavailable,
        // A broker has no code for what went wrong in it; it mostly restarts, or has too much to do.
        Code::Unknown => FaultKind::Unavailable,
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => {
            FaultKind::Timeout
        }
        Code::QueueFull | Code::ThrottlingQuotaExceeded => FaultKind::Throttled,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::IllegalSASLState
        | Code::UnsupportedSASLMechanism
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SecurityDisabled => FaultKind::Denied,
        Code::BadMessage | Code::BadCompression | Code::InvalidMessage | Code::InvalidRecord => {
            FaultKind::Corrupt
        }
        _ => FaultKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_kind() {
        for (code, kind) in [
            (Code::AllBrokersDown, FaultKind::Unavailable),
            (Code::BrokerTransportFailure, FaultKind::Unavailable),
            (Code::Resolve, FaultKind::Unavailable),
            (Code::UnknownTopicOrPartition, FaultKind::Unavailable),
            (Code::UnknownTopic, FaultKind::Unavailable),
            (Code::LeaderNotAvailable, FaultKind::Unavailable),
            (Code::NotLeaderForPartition, FaultKind::Unavailable),
            (Code::NetworkException, FaultKind::Unavailable),
            (Code::NotEnoughReplicas, FaultKind::Unavailable),
            (Code::NotEnoughReplicasAfterAppend, FaultKind::Unavailable),
            (Code::KafkaStorageError, FaultKind::Unavailable),
            (Code::Fatal, FaultKind::Unavailable),
            (Code::GaplessGuarantee, FaultKind::Unavailable),
            (Code::PurgeQueue, FaultKind::Unavailable),
            (Code::OutOfOrderSequenceNumber, FaultKind::Unavailable),
            (Code::UnknownProducerId, FaultKind::Unavailable),
            (Code::InvalidProducerEpoch, FaultKind::Unavailable),
            (Code::AutoOffsetReset, FaultKind::Unavailable),
            (Code::Unknown, FaultKind::Unavailable),
            (Code::MessageTimedOut, FaultKind::Timeout),
            (Code::OperationTimedOut, FaultKind::Timeout),
            (Code::RequestTimedOut, FaultKind::Timeout),
            (Code::QueueFull, FaultKind::Throttled),
            (Code::ThrottlingQuotaExceeded, FaultKind::Throttled),
            (Code::Authentication, FaultKind::Denied),
            (Code::SaslAuthenticationFailed, FaultKind::Denied),
            (Code::TopicAuthorizationFailed, FaultKind::Denied),
            (Code::GroupAuthorizationFailed, FaultKind::Denied),
            (Code::ClusterAuthorizationFailed, FaultKind::Denied),
            (Code::BadMessage, FaultKind::Corrupt),
            (Code::InvalidMessage, FaultKind::Corrupt),
            (Code::InvalidRecord, FaultKind::Corrupt),
            (Code::MessageSizeTooLarge, FaultKind::Internal),
            (Code::InvalidConfig, FaultKind::Internal),
        ] {
            assert_eq!(Failure::Code(code).kind(), kind, "{code}");
        }
    }

    #[test]
    fn every_failure_of_the_driver_keeps_its_code() {
        for error in [
            KafkaError::AdminOp(Code::TopicAlreadyExists),
            KafkaError::MetadataFetch(Code::TopicAlreadyExists),
            KafkaError::MessageProduction(Code::TopicAlreadyExists),
        ] {
            assert_eq!(Failure::from(error), Failure::Code(Code::TopicAlreadyExists));
        }
        let secret = KafkaError::ClientCreation("the password hidden is wrong".to_owned());
        assert!(!Failure::from(secret).to_string().contains("hidden"));
    }

    #[test]
    fn waiting_in_vain_says_what_the_driver_complained_of() {
        let failure = |trouble| Failure::NoAnswer { limit: Duration::from_secs(3), trouble };
        assert_eq!(failure(None).to_string(), "no answer within 3s");
        assert_eq!(failure(None).kind(), FaultKind::Timeout);
        let away = failure(Some(Code::AllBrokersDown));
        assert!(away.to_string().starts_with("no answer within 3s; last trouble: AllBrokersDown"), "{away}");
        assert_eq!(away.kind(), FaultKind::Unavailable);
        assert_eq!(failure(Some(Code::Authentication)).kind(), FaultKind::Denied);
    }

    #[test]
    fn what_the_driver_tries_again_can_be_tried_again() {
        for code in [Code::AllBrokersDown, Code::NotLeaderForPartition, Code::OperationTimedOut] {
            assert!(Failure::Code(code).passes_by_itself(), "{code}");
        }
        for code in
            [Code::TopicAuthorizationFailed, Code::AutoOffsetReset, Code::UnknownTopic, Code::BadMessage]
        {
            assert!(!Failure::Code(code).passes_by_itself(), "{code}");
        }
    }
}
