//! A client's events in one role, newest first: one range of one index.

use futures_util::TryStreamExt;
use mini_platform_core::domain::{ClientId, EventQuery, OperationType, PartyRole, StoredEvent};
use mongodb::Collection;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::Hint;

use crate::document::{self, BadDocument, Record};
use crate::error::Failure;
use crate::event_store::Collections;
use crate::index::{self, Index};

/// Where the events of one role lie: the start of the index keys is the same for all of them.
struct Timeline<'a> {
    index: Index,
    prefix: Vec<&'a str>,
}

impl<'a> Timeline<'a> {
    fn of(role: PartyRole, client: &'a ClientId) -> Self {
        let client = client.as_str();
        match role {
            PartyRole::Sender => Self { index: index::SENDER, prefix: vec![client] },
            PartyRole::Receiver => Self { index: index::RECEIVER, prefix: vec![client] },
            PartyRole::Depositor => Self::operation(client, OperationType::Deposit),
            PartyRole::Withdrawer => Self::operation(client, OperationType::Withdraw),
        }
    }

    fn operation(client: &'a str, operation: OperationType) -> Self {
        Self { index: index::CLIENT, prefix: vec![client, operation.as_str()] }
    }

    /// Returns the key of a place in this timeline.
    fn key(&self, place: Place) -> Document {
        let prefix = self.prefix.iter().map(|part| Bson::String((*part).to_owned()));
        let names = self.index.fields.iter().map(|field| (*field).to_owned());
        names.zip(prefix.chain([place.at, place.id])).collect()
    }
}

/// A place in the order of a timeline, also between, before and behind all events.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    at: Bson,
    id: Bson,
}

/// Returns the first place of a page and the first behind it, or `None` when there is nothing between them.
///
/// Places count in ascending order, against which a page is read.
fn bounds(query: &EventQuery) -> Option<(Place, Place)> {
    let range = query.range();
    let before = |at: i64| Place { at: Bson::Int64(at), id: Bson::MinKey };
    let from = range.from.map(|from| from.as_micros());
    let to = range.to.map(|to| to.as_micros());
    let after = query.after().map(|after| (after.at.as_micros(), after.id.as_str()));
    let upper = match (after, to) {
        (Some((at, id)), to) if to.is_none_or(|to| at < to) => {
            Place { at: Bson::Int64(at), id: Bson::String(id.to_owned()) }
        }
        (_, Some(to)) => before(to),
        (_, None) => Place { at: Bson::MaxKey, id: Bson::MaxKey },
    };
    let is_empty = match (from, upper.at.as_i64()) {
        (Some(from), Some(at)) => from > at || (from == at && upper.id == Bson::MinKey),
        _ => false,
    };
    let lower = from.map_or(Place { at: Bson::MinKey, id: Bson::MinKey }, before);
    (!is_empty).then_some((lower, upper))
}

/// Reads up to `wanted` events of one role, newest first.
pub(crate) async fn page(
    collections: &Collections,
    query: &EventQuery,
    role: PartyRole,
    wanted: usize,
) -> Result<Vec<StoredEvent>, Failure> {
    let Some((lower, upper)) = bounds(query) else { return Ok(Vec::new()) };
    let timeline = Timeline::of(role, query.client());
    let index = timeline.index;
    let mut cursor = collections
        .of(index.collection)
        .find(Document::new())
        // Exact bounds of one index: nothing is read that is not answered, whatever the planner thinks.
        .hint(Hint::Name(index.name.to_owned()))
        .min(timeline.key(lower))
        .max(timeline.key(upper))
        .sort(index.order(-1))
        .limit(i64::try_from(wanted).unwrap_or(i64::MAX))
        .batch_size(u32::try_from(wanted).unwrap_or(u32::MAX))
        .max_time(collections.timeout)
        .await?;
    let mut events = Vec::new();
    while cursor.advance().await? {
        events.extend(document::read(index.collection, cursor.current())?.into_event());
    }
    Ok(events)
}

/// Reads a document by its id.
pub(crate) async fn get(
    collection: &Collection<RawDocumentBuf>,
    name: &'static str,
    id: &str,
    limit: std::time::Duration,
) -> Result<Option<Record>, Failure> {
    let found = collection.find_one(doc! { "_id": id }).max_time(limit).await?;
    Ok(found.map(|document| document::read(name, &document)).transpose()?)
}

/// Returns the stages that give the clients of an index behind one of them, in ascending order.
///
/// A server that walks the index from client to client (`groups_in_order`) touches one key a client. One that does
/// not would group in any order, so that it has to sort all groups for every page.
pub(crate) fn clients_pipeline(
    index: &Index,
    after: &str,
    wanted: usize,
    groups_in_order: bool,
) -> Vec<Document> {
    let party = index.party();
    let group = doc! { "$group": { "_id": format!("${party}") } };
    let limit = doc! { "$limit": i64::try_from(wanted).unwrap_or(i64::MAX) };
    let matched = doc! { "$match": { party: { "$gt": after } } };
    if groups_in_order {
        vec![matched, doc! { "$sort": { party: 1 } }, group, limit]
    } else {
        vec![matched, group, doc! { "$sort": { "_id": 1 } }, limit]
    }
}

/// Reads up to `wanted` clients of an index, in ascending order.
pub(crate) async fn clients(
    collections: &Collections,
    index: &Index,
    after: &str,
    wanted: usize,
) -> Result<Vec<ClientId>, Failure> {
    let cursor = collections
        .of(index.collection)
        .aggregate(clients_pipeline(index, after, wanted, collections.ordered_groups))
        .hint(Hint::Name(index.name.to_owned()))
        // More than the limit, so that the first answer ends the cursor.
        .batch_size(u32::try_from(wanted + 1).unwrap_or(u32::MAX))
        .max_time(collections.timeout)
        .await?;
    let groups: Vec<Document> = cursor.try_collect().await?;
    let bad = BadDocument { collection: index.collection, field: index.party() };
    let client = |group: &Document| group.get_str("_id").ok().and_then(|id| ClientId::new(id).ok());
    Ok(groups.iter().map(|group| client(group).ok_or(bad)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mini_platform_core::domain::{EventFilter, TimeRange, Timestamp};

    fn range(from: Option<i64>, to: Option<i64>) -> EventQuery {
        let time = |micros: i64| Timestamp::from_micros(micros).unwrap();
        let range = TimeRange { from: from.map(time), to: to.map(time) };
        EventQuery::new(ClientId::new("ann").unwrap(), EventFilter::Sent).with_range(range)
    }

    #[test]
    fn an_empty_range_is_not_asked_for() {
        assert_eq!(bounds(&range(Some(4), Some(4))), None);
        assert_eq!(bounds(&range(Some(5), Some(4))), None);
        assert!(bounds(&range(Some(4), Some(5))).is_some());
        assert!(bounds(&range(None, None)).is_some());
    }
}
