//! The fields of an event and their rules.

use std::fmt::Display;
use std::str::FromStr;

use mini_platform_core::dispatcher::fresh_id;
use mini_platform_core::domain::{
    Amount, BranchId, ClientId, Currency, Event, EventId, OccurredAt, OperationType, Timestamp,
};

use super::scalar::Scalar;
use super::{EventRules, Kind};
use crate::http::problem::{Code, Rejection};

/// A field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Type,
    Id,
    Sender,
    Receiver,
    Client,
    Branch,
    Operation,
    Amount,
    Currency,
    OccurredAt,
}

impl Field {
    const ALL: [Self; 10] = [
        Self::Type,
        Self::Id,
        Self::Sender,
        Self::Receiver,
        Self::Client,
        Self::Branch,
        Self::Operation,
        Self::Amount,
        Self::Currency,
        Self::OccurredAt,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Id => "id",
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::Client => "client",
            Self::Branch => "branch",
            Self::Operation => "operation",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::OccurredAt => "occurred_at",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "type" => Self::Type,
            "id" => Self::Id,
            "sender" => Self::Sender,
            "receiver" => Self::Receiver,
            "client" => Self::Client,
            "branch" => Self::Branch,
            "operation" => Self::Operation,
            "amount" => Self::Amount,
            "currency" => Self::Currency,
            "occurred_at" => Self::OccurredAt,
            _ => return None,
        })
    }

    /// Returns the one kind of event that has this field; `None` when both have it.
    fn only_of(self) -> Option<Kind> {
        match self {
            Self::Sender | Self::Receiver => Some(Kind::Transaction),
            Self::Client | Self::Branch | Self::Operation => Some(Kind::Operation),
            Self::Type | Self::Id | Self::Amount | Self::Currency | Self::OccurredAt => None,
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }

    fn reject(self, code: Code, what: impl Display) -> Rejection {
        let name = self.name();
        Rejection::new(code, format!("`{name}` {what}.")).at(format!("/{name}"))
    }

    fn invalid(self, what: impl Display) -> Rejection {
        self.reject(Code::InvalidField, what)
    }

    fn missing(self) -> Rejection {
        self.reject(Code::MissingField, "is missing")
    }
}

/// What was read of an event so far. A field that is wrong leaves its place empty and a flaw behind.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// The field whose value is being read.
    pub(super) current: Option<Field>,
    seen: u16,
    /// The first thing that is wrong.
    flaw: Option<Rejection>,
    kind: Option<Kind>,
    id: Option<EventId>,
    sender: Option<ClientId>,
    receiver: Option<ClientId>,
    client: Option<ClientId>,
    branch: Option<BranchId>,
    operation: Option<OperationType>,
    amount: Option<Amount>,
    currency: Option<Currency>,
    occurred_at: Option<Timestamp>,
}

impl Fields {
    /// Takes in the value of a field.
    pub(super) fn take(&mut self, field: Field, value: &Scalar<'_>) {
        let again = self.seen & field.bit() != 0;
        self.seen |= field.bit();
        let taken = if again {
            Err(field.reject(Code::DuplicateField, "stands twice in one event"))
        } else {
            self.set(field, value).map_err(|rule| field.invalid(rule))
        };
        if let Err(flaw) = taken {
            self.flaw.get_or_insert(flaw);
        }
    }

    /// Notes a field that no event has. Its value was read past.
    pub(super) fn note_unknown(&mut self, name: &str) {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let detail = format!("`{name}` is no field of an event; leave it out.");
        self.flaw.get_or_insert_with(|| Rejection::new(Code::UnknownField, detail).at(pointer));
    }

    fn set(&mut self, field: Field, value: &Scalar<'_>) -> Result<(), String> {
        match field {
            Field::Type => {
                self.kind = Some(one_of(value, [Kind::Transaction, Kind::Operation], Kind::as_str)?);
            }
            Field::Id => self.id = Some(parse(value)?),
            Field::Sender => self.sender = Some(parse(value)?),
            Field::Receiver => self.receiver = Some(parse(value)?),
            Field::Client => self.client = Some(parse(value)?),
            Field::Branch => self.branch = Some(parse(value)?),
            Field::Operation => {
                let both = [OperationType::Deposit, OperationType::Withdraw];
                self.operation = Some(one_of(value, both, OperationType::as_str)?);
            }
            Field::Amount => self.amount = Some(amount(value)?),
            Field::Currency => self.currency = Some(parse(value)?),
            Field::OccurredAt => self.occurred_at = Some(parse(value)?),
        }
        Ok(())
    }

    /// Returns the id under which the event was sent, as far as it is known.
    pub(super) fn id(&self, rules: &EventRules<'_>) -> Option<EventId> {
        self.id.clone().or_else(|| rules.key.clone())
    }

    /// Makes the event. Call it once, after everything was taken in.
    pub(super) fn event(&mut self, rules: &EventRules<'_>) -> Result<Event, Rejection> {
        if let Some(flaw) = self.flaw.take() {
            return Err(flaw);
        }
        let kind = self.resolve_kind(rules)?;
        self.refuse_fields_of_the_other(kind)?;
        self.refuse_two_ids(rules)?;
        match kind {
            Kind::Transaction => self.transaction(rules),
            Kind::Operation => self.operation(rules),
        }
    }

    fn resolve_kind(&self, rules: &EventRules<'_>) -> Result<Kind, Rejection> {
        match (rules.kind, self.kind) {
            (Some(expected), Some(said)) if expected != said => Err(Field::Type
                .invalid(format_args!("must be \"{}\" on this path, or be left out", expected.as_str()))),
            (Some(kind), _) | (None, Some(kind)) => Ok(kind),
            (None, None) => {
                Err(Field::Type
                    .reject(Code::MissingField, "is missing; say \"transaction\" or \"operation\""))
            }
        }
    }

    fn refuse_fields_of_the_other(&self, kind: Kind) -> Result<(), Rejection> {
        let foreign =
            |field: &Field| self.seen & field.bit() != 0 && field.only_of().is_some_and(|only| only != kind);
        match Field::ALL.into_iter().find(foreign) {
            Some(field) => Err(field.reject(
                Code::UnknownField,
                format_args!("is no field of {} {}; leave it out", article(kind), kind.as_str()),
            )),
            None => Ok(()),
        }
    }

    fn refuse_two_ids(&self, rules: &EventRules<'_>) -> Result<(), Rejection> {
        match (&self.id, &rules.key) {
            (Some(id), Some(key)) if id != key => {
                Err(Field::Id.invalid("differs from the Idempotency-Key header; send one of the two"))
            }
            _ => Ok(()),
        }
    }

    fn transaction(&mut self, rules: &EventRules<'_>) -> Result<Event, Rejection> {
        let sender = self.sender.take().ok_or_else(|| Field::Sender.missing())?;
        let receiver = self.receiver.take().ok_or_else(|| Field::Receiver.missing())?;
        let amount = self.amount.ok_or_else(|| Field::Amount.missing())?;
        let (id, currency, occurred_at) = self.common(rules)?;
        Event::transaction(id, sender, receiver, amount, currency, occurred_at).map_err(|_| {
            Field::Receiver.reject(Code::SameParty, "is the `sender` too; name two different clients")
        })
    }

    fn operation(&mut self, rules: &EventRules<'_>) -> Result<Event, Rejection> {
        let client = self.client.take().ok_or_else(|| Field::Client.missing())?;
        let branch = self.branch.take().ok_or_else(|| Field::Branch.missing())?;
        let operation = self.operation.ok_or_else(|| Field::Operation.missing())?;
        let amount = self.amount.ok_or_else(|| Field::Amount.missing())?;
        let (id, currency, occurred_at) = self.common(rules)?;
        Ok(Event::operation(id, client, branch, operation, amount, currency, occurred_at))
    }

    fn common(&self, rules: &EventRules<'_>) -> Result<(EventId, Currency, OccurredAt), Rejection> {
        let occurred_at = match self.occurred_at {
            Some(at) => OccurredAt::Given(at),
            None => OccurredAt::Received(rules.clock.now()),
        };
        let id = match self.id(rules) {
            Some(id) => id,
            None => fresh_id(rules.clock.now()).ok_or_else(|| {
                Rejection::new(Code::Internal, "No id could be made; send one with the event.")
            })?,
        };
        Ok((id, self.currency.unwrap_or(rules.default_currency), occurred_at))
    }
}

fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Transaction => "a",
        Kind::Operation => "an",
    }
}

fn text<'a>(value: &'a Scalar<'_>) -> Result<&'a str, String> {
    match value {
        Scalar::Text(text) => Ok(text),
        Scalar::Null => Err("must be text, found null; leave out what is not known".to_owned()),
        other => Err(format!("must be text, found {}", other.found())),
    }
}

fn parse<T: FromStr<Err: Display>>(value: &Scalar<'_>) -> Result<T, String> {
    text(value)?.parse().map_err(|rule: T::Err| rule.to_string())
}

fn one_of<T: Copy>(value: &Scalar<'_>, both: [T; 2], name: fn(T) -> &'static str) -> Result<T, String> {
    let text = text(value)?;
    both.into_iter().find(|known| name(*known) == text).ok_or_else(|| {
        let [first, second] = both.map(name);
        format!("must be \"{first}\" or \"{second}\"")
    })
}

fn amount(value: &Scalar<'_>) -> Result<Amount, String> {
    match value {
        Scalar::Integer(units) => Amount::from_minor_units(*units).map_err(|rule| rule.to_string()),
        Scalar::Huge => Err(format!("must be at most {}, in minor units of the currency", i64::MAX)),
        Scalar::Fraction => {
            Err("must be a whole number of minor units, without fraction or exponent".to_owned())
        }
        other => Err(format!("must be a number, found {}", other.found())),
    }
}
