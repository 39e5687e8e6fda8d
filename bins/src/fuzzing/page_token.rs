//! The token of a page, as a client sends it.
//!
//! The laws:
//! - a token that a query answered leads that query, and no other, to the place behind which it was made;
//! - a token that a query takes is one that it answers: there is one text for each place;
//! - anything else is refused, as is a token with any letter changed that names its form or its query.
//!
//! The first line is a client; the rest is the token, a name, and what stands in the place of a position.

use mini_platform_core::domain::{
    Amount, BranchId, ClientId, ClientQuery, Event, EventFilter, EventId, EventPosition, EventQuery,
    InvalidPage, NeighbourQuery, OccurredAt, OperationType, PageToken, ParcelId, ParcelQuery, StoredEvent,
    TimeRange, Timestamp,
};
use mini_platform_core::port::Clock;

use super::{StandingClock, first_line};

/// How much of the text of a token names its form and its query; the position follows.
const HEAD_LETTERS: usize = 12;

/// Checks the laws of a page token.
pub fn page_token(input: &[u8]) {
    let (client, rest) = first_line(input);
    let text = String::from_utf8_lossy(rest);
    let client = ClientId::new(String::from_utf8_lossy(client)).ok();
    let queries = queries(client.unwrap_or_else(|| ClientId::new("ann").expect("it is a name")));
    if let Ok(token) = text.parse() {
        assert!(taking(&queries, &token).len() <= 1, "a token belongs to one query");
    }
    for (place, query) in queries.iter().enumerate() {
        let token = query.token_of(rest, &text);
        if let Some(token) = &token {
            assert_eq!(token.as_str().parse::<PageToken>().as_ref(), Ok(token), "a token can be sent");
            assert_eq!(taking(&queries, token), [place], "a token leads its own query on, and no other");
            let taken = |text: String| text.parse().is_ok_and(|token| query.again(&token).is_ok());
            assert!(!other_heads(token).any(taken), "a letter of a token makes no difference");
        }
        // The same query, and any position.
        let head = token.as_ref().and_then(|token| token.as_str().get(..HEAD_LETTERS)).unwrap_or_default();
        if let Ok(crafted) = format!("{head}{text}").parse() {
            taking(&queries, &crafted);
        }
    }
}

/// Changes each letter in turn that names the form or the query of a token.
fn other_heads(token: &PageToken) -> impl Iterator<Item = String> {
    let changed = |place| {
        let mut text = token.as_str().to_owned();
        let other = if text.get(place..=place) == Some("A") { "B" } else { "A" };
        text.replace_range(place..=place, other);
        text
    };
    (0..HEAD_LETTERS).map(changed)
}

/// Returns the places of the queries that take a token.
fn taking(queries: &[Query], token: &PageToken) -> Vec<usize> {
    let takes = |query: &Query| match query.again(token) {
        Ok(again) => {
            assert!(again == *token, "two texts stand for one place");
            true
        }
        Err(rule) => {
            assert_eq!(rule, InvalidPage::Token);
            false
        }
    };
    queries.iter().enumerate().filter(|(_, query)| takes(query)).map(|(place, _)| place).collect()
}

enum Query {
    Events(EventQuery),
    Neighbours(NeighbourQuery),
    Clients(ClientQuery),
    Parcels(ParcelQuery),
}

/// Returns different queries about a client and about all.
fn queries(client: ClientId) -> Vec<Query> {
    use EventFilter::{Deposits, Operations, Received, Sent, Transactions, Withdrawals};
    let of = |filter| EventQuery::new(client.clone(), filter);
    let ranged = |from, to| of(Transactions).with_range(TimeRange { from, to });
    let now = Some(StandingClock.now());
    let filters = [Transactions, Sent, Received, Operations, Deposits, Withdrawals].map(of);
    let ranges = [ranged(now, None), ranged(None, now), ranged(now, now)];
    let mut queries: Vec<_> = filters.into_iter().chain(ranges).map(Query::Events).collect();
    queries.push(Query::Neighbours(NeighbourQuery::new(client)));
    queries.push(Query::Clients(ClientQuery::default()));
    queries.push(Query::Parcels(ParcelQuery::default()));
    queries.push(Query::Parcels(ParcelQuery::of_dead_letters()));
    queries
}

impl Query {
    /// Makes the token behind what bytes or a text stand for, if they stand for anything of this query.
    fn token_of(&self, bytes: &[u8], text: &str) -> Option<PageToken> {
        let name = ClientId::new(text);
        match self {
            Self::Events(query) => {
                let last = event(bytes)?;
                let token = query.token_after(&last);
                let again = query.clone().with_token(&token).expect("a token leads its query on");
                assert_eq!(again.after(), Some(&EventPosition::of(&last)));
                Some(token)
            }
            Self::Neighbours(query) => {
                let token = query.token_after(name.ok()?.as_str());
                let again = query.clone().with_token(&token).expect("a token leads its query on");
                assert!(again.after() == Some(text), "a token leads to another neighbour");
                Some(token)
            }
            Self::Clients(query) => Some(query.token_after(name.ok()?.as_str())),
            Self::Parcels(query) => {
                let random = *bytes.first_chunk::<10>()?;
                Some(query.token_after(ParcelId::new(StandingClock.now(), random)))
            }
        }
    }

    /// Follows a token, and makes the token of the place where it leads.
    fn again(&self, token: &PageToken) -> Result<PageToken, InvalidPage> {
        Ok(match self {
            Self::Events(query) => query.clone().with_token(token)?.token().expect("it goes on"),
            Self::Neighbours(query) => query.clone().with_token(token)?.token().expect("it goes on"),
            Self::Clients(query) => {
                let query = query.clone().with_token(token)?;
                query.token_after(query.after().expect("it goes on"))
            }
            Self::Parcels(query) => {
                let query = query.clone().with_token(token)?;
                query.token_after(query.after().expect("it goes on"))
            }
        })
    }
}

/// Makes an event of eight bytes of time and an id.
fn event(bytes: &[u8]) -> Option<StoredEvent> {
    let (micros, id) = bytes.split_first_chunk::<8>()?;
    let at = Timestamp::from_micros(i64::from_be_bytes(*micros)).ok()?;
    let event = Event::operation(
        EventId::new(std::str::from_utf8(id).ok()?).ok()?,
        ClientId::new("ann").ok()?,
        BranchId::new("north").ok()?,
        OperationType::Deposit,
        Amount::from_minor_units(1).ok()?,
        "EUR".parse().ok()?,
        OccurredAt::Given(at),
    );
    Some(StoredEvent { event, recorded_at: at })
}
