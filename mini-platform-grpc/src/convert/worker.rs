//! Who workers are, and what they do with batches.

use mini_platform_core::domain::{
    EventBatch, Incarnation, IngestOutcome, MAX_BATCH, ProtocolVersion, WorkerId,
};

use super::{ConvertError, InField, Problem, message};
use crate::v1;

impl From<&EventBatch> for v1::WorkerServiceIngestRequest {
    fn from(batch: &EventBatch) -> Self {
        Self { batch: Some(batch.into()) }
    }
}

impl TryFrom<v1::WorkerServiceIngestRequest> for EventBatch {
    type Error = ConvertError;

    fn try_from(request: v1::WorkerServiceIngestRequest) -> Result<Self, ConvertError> {
        message(request.batch, "batch")
    }
}

impl From<&[IngestOutcome]> for v1::WorkerServiceIngestResponse {
    fn from(outcomes: &[IngestOutcome]) -> Self {
        Self { results: outcomes.iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::WorkerServiceIngestResponse> for Vec<IngestOutcome> {
    type Error = ConvertError;

    fn try_from(response: v1::WorkerServiceIngestResponse) -> Result<Self, ConvertError> {
        super::items(response.results, "results", MAX_BATCH)
    }
}

impl From<(&WorkerId, Incarnation)> for v1::IdentifyResponse {
    fn from((id, incarnation): (&WorkerId, Incarnation)) -> Self {
        Self {
            worker_id: id.as_str().to_owned(),
            incarnation: incarnation.0,
            protocol_version: ProtocolVersion::CURRENT.0,
        }
    }
}

impl TryFrom<v1::IdentifyResponse> for (WorkerId, Incarnation, ProtocolVersion) {
    type Error = ConvertError;

    fn try_from(response: v1::IdentifyResponse) -> Result<Self, ConvertError> {
        let id = WorkerId::new(&response.worker_id).in_field("worker_id")?;
        let protocol = protocol_version(response.protocol_version).in_field("protocol_version")?;
        Ok((id, Incarnation(response.incarnation), protocol))
    }
}

/// Takes a version of the protocol. Programs of before there was one do not exist, so zero is a mistake.
pub(super) fn protocol_version(number: u32) -> Result<ProtocolVersion, Problem> {
    if number == 0 { Err(Problem::Zero) } else { Ok(ProtocolVersion(number)) }
}
