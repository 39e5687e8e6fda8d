//! Links between a client and what its events name.

use mini_platform_core::domain::{BranchId, BranchLink, ClientId, Interaction, Side};

use super::{ConvertError, InField, Problem, optional_timestamp, timestamp};
use crate::v1;

impl From<&Interaction> for v1::Interaction {
    fn from(interaction: &Interaction) -> Self {
        let last_at = |side| interaction.last_at_on(side).map(|at| at.as_micros());
        Self {
            client: interaction.counterparty.as_str().to_owned(),
            sent_at_micros: last_at(Side::Sent),
            received_at_micros: last_at(Side::Received),
        }
    }
}

impl TryFrom<v1::Interaction> for Interaction {
    type Error = ConvertError;

    fn try_from(interaction: v1::Interaction) -> Result<Self, ConvertError> {
        let client = ClientId::new(&interaction.client).in_field("client")?;
        let sent_at = optional_timestamp(interaction.sent_at_micros, "sent_at_micros")?;
        let received_at = optional_timestamp(interaction.received_at_micros, "received_at_micros")?;
        Self::new(client, sent_at, received_at).ok_or(Problem::NoTime).in_field("received_at_micros")
    }
}

impl From<&BranchLink> for v1::BranchLink {
    fn from(link: &BranchLink) -> Self {
        Self { branch: link.branch.as_str().to_owned(), last_at_micros: Some(link.last_at.as_micros()) }
    }
}

impl TryFrom<v1::BranchLink> for BranchLink {
    type Error = ConvertError;

    fn try_from(link: v1::BranchLink) -> Result<Self, ConvertError> {
        Ok(Self {
            branch: BranchId::new(&link.branch).in_field("branch")?,
            last_at: timestamp(link.last_at_micros, "last_at_micros")?,
        })
    }
}
