//! What can be asked of the event store and of adjacency.

use std::hash::Hasher;

use super::page::InvalidPage;
use super::{ClientId, EventId, PageSize, PageToken, ParcelId, PartyRole, StoredEvent, Timestamp};

/// Which events of a client are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventFilter {
    /// Transactions in both directions.
    Transactions,
    /// Transactions that the client sent.
    Sent,
    /// Transactions that the client received.
    Received,
    /// Deposits and withdrawals.
    Operations,
    /// Deposits.
    Deposits,
    /// Withdrawals.
    Withdrawals,
}

impl EventFilter {
    /// Returns the roles in which the client takes part in the events that are asked for, one or two.
    #[must_use]
    pub fn roles(self) -> &'static [PartyRole] {
        match self {
            Self::Transactions => &[PartyRole::Sender, PartyRole::Receiver],
            Self::Sent => &[PartyRole::Sender],
            Self::Received => &[PartyRole::Receiver],
            Self::Operations => &[PartyRole::Depositor, PartyRole::Withdrawer],
            Self::Deposits => &[PartyRole::Depositor],
            Self::Withdrawals => &[PartyRole::Withdrawer],
        }
    }
}

/// A half-open range of time: from inclusive, to exclusive; an open end is unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The first instant in the range.
    pub from: Option<Timestamp>,
    /// The first instant after the range.
    pub to: Option<Timestamp>,
}

impl TimeRange {
    /// Whether an instant is in the range.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}

/// The place of an event in the order of a query: by time, then by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPosition {
    /// When the event happened.
    pub at: Timestamp,
    /// The id, which orders events of the same instant.
    pub id: EventId,
}

impl EventPosition {
    /// Returns the place of a stored event.
    #[must_use]
    pub fn of(stored: &StoredEvent) -> Self {
        Self { at: stored.event.occurred_at().timestamp(), id: stored.event.id().clone() }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.at.as_micros().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_str().as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (micros, id) = bytes.split_first_chunk::<8>()?;
        let at = Timestamp::from_micros(i64::from_be_bytes(*micros)).ok()?;
        Some(Self { at, id: EventId::new(std::str::from_utf8(id).ok()?).ok()? })
    }
}

/// Asks for the events of one client, newest first, events of the same instant by descending id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    client: ClientId,
    filter: EventFilter,
    range: TimeRange,
    size: PageSize,
    after: Option<EventPosition>,
}

impl EventQuery {
    /// Asks for the first page of a client's events.
    #[must_use]
    pub fn new(client: ClientId, filter: EventFilter) -> Self {
        Self { client, filter, range: TimeRange::default(), size: PageSize::default(), after: None }
    }

    /// Keeps to events of a range of time. Comes before [`EventQuery::with_token`].
    #[must_use]
    pub fn with_range(mut self, range: TimeRange) -> Self {
        self.range = range;
        self
    }

    /// Asks for pages of another size.
    #[must_use]
    pub fn with_size(mut self, size: PageSize) -> Self {
        self.size = size;
        self
    }

    /// Continues where an earlier page of the same query ended.
    ///
    /// # Errors
    /// The token belongs to another client, filter or range, or was not made here.
    pub fn with_token(mut self, token: &PageToken) -> Result<Self, InvalidPage> {
        let position = token.open(self.fingerprint())?;
        self.after = Some(EventPosition::from_bytes(&position).ok_or(InvalidPage::Token)?);
        Ok(self)
    }

    /// Returns whose events are asked for.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Returns which events are asked for.
    #[must_use]
    pub fn filter(&self) -> EventFilter {
        self.filter
    }

    /// Returns the range of time.
    #[must_use]
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// Returns how many events a page may hold.
    #[must_use]
    pub fn size(&self) -> PageSize {
        self.size
    }

    /// Returns the last event of the page before: the page holds only events that come after it, which are
    /// older.
    #[must_use]
    pub fn after(&self) -> Option<&EventPosition> {
        self.after.as_ref()
    }

    /// Returns the token that this query continues from, to send the query on.
    #[must_use]
    pub fn token(&self) -> Option<PageToken> {
        self.after.as_ref().map(|after| PageToken::seal(self.fingerprint(), &after.to_bytes()))
    }

    /// Makes the token of the page behind an event.
    #[must_use]
    pub fn token_after(&self, stored: &StoredEvent) -> PageToken {
        PageToken::seal(self.fingerprint(), &EventPosition::of(stored).to_bytes())
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(b"events");
        hasher.write(self.client.as_str().as_bytes());
        hasher.write(&[0, self.filter as u8]);
        for end in [self.range.from, self.range.to] {
            hasher.write(&end.map_or(i64::MIN, Timestamp::as_micros).to_be_bytes());
        }
        hasher.finish()
    }
}

/// Asks for the neighbours of one client: the clients it exchanged money with, or the branches it used.
///
/// Neighbours are ordered by the bytes of their id, which stays put while links are refreshed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourQuery {
    client: ClientId,
    size: PageSize,
    after: Option<String>,
}

impl NeighbourQuery {
    /// Asks for the first page of a client's neighbours.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self { client, size: PageSize::default(), after: None }
    }

    /// Asks for pages of another size.
    #[must_use]
    pub fn with_size(mut self, size: PageSize) -> Self {
        self.size = size;
        self
    }

    /// Continues where an earlier page of the same client ended.
    ///
    /// # Errors
    /// The token belongs to another query, or was not made here.
    pub fn with_token(mut self, token: &PageToken) -> Result<Self, InvalidPage> {
        self.after = Some(token.open_text(self.fingerprint())?);
        Ok(self)
    }

    /// Returns whose neighbours are asked for.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Returns how many neighbours a page may hold.
    #[must_use]
    pub fn size(&self) -> PageSize {
        self.size
    }

    /// Returns the id of the last neighbour of the page before.
    #[must_use]
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Returns the token that this query continues from, to send the query on.
    #[must_use]
    pub fn token(&self) -> Option<PageToken> {
        self.after.as_deref().map(|after| self.token_after(after))
    }

    /// Makes the token of the page behind a neighbour.
    #[must_use]
    pub fn token_after(&self, neighbour: &str) -> PageToken {
        PageToken::seal(self.fingerprint(), neighbour.as_bytes())
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(b"neighbours");
        hasher.write(self.client.as_str().as_bytes());
        hasher.finish()
    }
}

/// A query for all clients that a store knows, for checks of the whole store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientQuery {
    size: PageSize,
    after: Option<String>,
}

impl ClientQuery {
    /// Sets how many clients one page holds at most.
    #[must_use]
    pub fn with_size(mut self, size: PageSize) -> Self {
        self.size = size;
        self
    }

    /// Continues behind a page.
    ///
    /// # Errors
    /// The token is none that a query for clients answered.
    pub fn with_token(mut self, token: &PageToken) -> Result<Self, InvalidPage> {
        self.after = Some(token.open_text(Self::fingerprint())?);
        Ok(self)
    }

    /// Returns how many clients one page holds at most.
    #[must_use]
    pub fn size(&self) -> PageSize {
        self.size
    }

    /// Returns the position behind which to go on, as the store gave it to [`ClientQuery::token_after`].
    #[must_use]
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Makes the token of the page that ends at a position: a client's id, or what else the store goes by.
    #[must_use]
    pub fn token_after(&self, position: &str) -> PageToken {
        PageToken::seal(Self::fingerprint(), position.as_bytes())
    }

    fn fingerprint() -> u64 {
        fingerprint_of(b"clients")
    }
}

/// Binds the tokens of a query that has no parameters.
fn fingerprint_of(query: &[u8]) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(query);
    hasher.finish()
}

/// Asks for parcels of a parking lot, by ascending id: those that were made first come first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParcelQuery {
    size: PageSize,
    after: Option<ParcelId>,
    of_dead_letters: bool,
}

impl ParcelQuery {
    /// Asks for dead letters: the tokens of their pages are none of those of parked parcels, which the default asks for.
    #[must_use]
    pub fn of_dead_letters() -> Self {
        Self { of_dead_letters: true, ..Self::default() }
    }

    /// Sets how many parcels one page holds at most.
    #[must_use]
    pub fn with_size(mut self, size: PageSize) -> Self {
        self.size = size;
        self
    }

    /// Continues behind a page.
    ///
    /// # Errors
    /// The token is none that a query for parcels answered.
    pub fn with_token(mut self, token: &PageToken) -> Result<Self, InvalidPage> {
        let id = token.open_text(self.fingerprint())?;
        self.after = Some(id.parse().map_err(|_| InvalidPage::Token)?);
        Ok(self)
    }

    /// Returns how many parcels one page holds at most.
    #[must_use]
    pub fn size(&self) -> PageSize {
        self.size
    }

    /// Returns the parcel behind which to go on.
    #[must_use]
    pub fn after(&self) -> Option<ParcelId> {
        self.after
    }

    /// Makes the token of the page that ends with a parcel.
    #[must_use]
    pub fn token_after(&self, last: ParcelId) -> PageToken {
        PageToken::seal(self.fingerprint(), last.to_string().as_bytes())
    }

    fn fingerprint(&self) -> u64 {
        fingerprint_of(if self.of_dead_letters { b"dead letters" } else { b"parcels" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(client: &str, filter: EventFilter) -> EventQuery {
        EventQuery::new(ClientId::new(client).unwrap(), filter)
    }

    fn token() -> PageToken {
        let position =
            EventPosition { at: Timestamp::UNIX_EPOCH, id: EventId::new("e1").unwrap() }.to_bytes();
        PageToken::seal(query("ann", EventFilter::Sent).fingerprint(), &position)
    }

    #[test]
    fn a_token_continues_its_own_query() {
        let continued = query("ann", EventFilter::Sent).with_token(&token()).unwrap();
        assert_eq!(continued.after().map(|position| position.id.as_str()), Some("e1"));
    }

    #[test]
    fn a_token_of_dead_letters_is_none_of_parked_parcels() {
        let (parked, dead) = (ParcelQuery::default(), ParcelQuery::of_dead_letters());
        let id = ParcelId::new(Timestamp::UNIX_EPOCH, [7; 10]);
        assert_eq!(dead.clone().with_token(&dead.token_after(id)).unwrap().after(), Some(id));
        assert_eq!(dead.clone().with_token(&parked.token_after(id)), Err(InvalidPage::Token));
        assert_eq!(parked.with_token(&dead.token_after(id)), Err(InvalidPage::Token));
    }

    #[test]
    fn a_token_is_refused_by_any_other_query() {
        let range = TimeRange { from: Some(Timestamp::UNIX_EPOCH), to: None };
        for other in [
            query("bob", EventFilter::Sent),
            query("ann", EventFilter::Received),
            query("ann", EventFilter::Sent).with_range(range),
        ] {
            assert_eq!(other.with_token(&token()), Err(InvalidPage::Token));
        }
    }

    #[test]
    fn a_mangled_token_is_refused() {
        let good = token();
        for text in ["A", "!!!", &good.as_str()[1..], &format!("{}A", good.as_str())[2..]] {
            let mangled: PageToken = text.parse().unwrap();
            assert!(query("ann", EventFilter::Sent).with_token(&mangled).is_err(), "{text} must be refused");
        }
        assert!("".parse::<PageToken>().is_err());
    }
}
