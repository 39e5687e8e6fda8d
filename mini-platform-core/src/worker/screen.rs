//! Screening: which events have a subject on the fraud list.

use super::ScreenedParties;
use crate::domain::{
    ClientId, Event, EventBatch, EventScreening, ListVersion, PartyRole, Screening, Verdict,
};
use crate::error::{Fault, FaultKind, IngestError};
use crate::port::FraudRegistry;

/// Screens a batch in one call of the registry, so that all verdicts come from one version of the list.
pub(super) async fn screen(
    registry: &dyn FraudRegistry,
    parties: ScreenedParties,
    batch: &EventBatch,
) -> Result<Vec<EventScreening>, IngestError> {
    let subjects: Vec<ClientId> =
        batch.events().iter().flat_map(|event| subjects(event, parties)).map(|(_, id)| id.clone()).collect();
    let Screening { version, verdicts } = registry.screen(&subjects).await.map_err(IngestError::Screen)?;
    if verdicts.len() != subjects.len() {
        return Err(Fault::new("registry", "answer one verdict a subject", FaultKind::Corrupt).into());
    }
    let mut verdicts = verdicts.into_iter();
    Ok(batch.events().iter().map(|event| judge(event, parties, &version, &mut verdicts)).collect())
}

fn subjects(event: &Event, parties: ScreenedParties) -> impl Iterator<Item = (PartyRole, &ClientId)> {
    event.parties().filter(move |(role, _)| match parties {
        ScreenedParties::Both => true,
        ScreenedParties::Brief => matches!(role, PartyRole::Receiver | PartyRole::Withdrawer),
    })
}

/// Takes the verdicts of one event's subjects; the first hit counts.
fn judge(
    event: &Event,
    parties: ScreenedParties,
    version: &ListVersion,
    verdicts: &mut impl Iterator<Item = Verdict>,
) -> EventScreening {
    let mut screening = EventScreening::None { version: version.clone() };
    for ((party, _), verdict) in subjects(event, parties).zip(verdicts) {
        screening = match (screening, verdict) {
            (hit @ EventScreening::Hit { .. }, _) => hit,
            (_, Verdict::Hit { entry }) => EventScreening::Hit { version: version.clone(), party, entry },
            (_, Verdict::Clear) => EventScreening::Clear { version: version.clone() },
        };
    }
    screening
}
