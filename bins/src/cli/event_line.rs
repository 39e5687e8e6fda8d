//! An event as it is submitted.

use serde::Serialize;

/// An event of either kind; what is not of its kind, or was left out, is not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct EventLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    amount: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) currency: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) occurred_at: Option<&'a str>,
}

impl<'a> EventLine<'a> {
    /// A transfer of so many minor units.
    pub(super) fn transaction(sender: &'a str, receiver: &'a str, amount: i64) -> Self {
        Self {
            kind: "transaction",
            sender: Some(sender),
            receiver: Some(receiver),
            amount,
            ..Self::default()
        }
    }

    /// A deposit at a branch, of so many minor units.
    pub(super) fn deposit(client: &'a str, branch: &'a str, amount: i64) -> Self {
        Self::operation("deposit", client, branch, amount)
    }

    /// A withdrawal at a branch, of so many minor units.
    pub(super) fn withdraw(client: &'a str, branch: &'a str, amount: i64) -> Self {
        Self::operation("withdraw", client, branch, amount)
    }

    fn operation(operation: &'static str, client: &'a str, branch: &'a str, amount: i64) -> Self {
        Self {
            kind: "operation",
            client: Some(client),
            branch: Some(branch),
            operation: Some(operation),
            amount,
            ..Self::default()
        }
    }
}
