//! How a batch is stored: which writes, in which order, and what their answers mean.
//!
//! An id is unique over both collections because the transactions know every id: an operation first reserves its
//! own there. A transaction costs one write and one round trip; an operation costs a second, small write, and its two
//! round trips run beside those of the transactions.

use std::collections::HashMap;

use mini_platform_core::domain::{AppendOutcome, Event, EventBatch, EventId, StoredEvent, Timestamp};
use mongodb::Collection;
use mongodb::bson::{Bson, RawDocumentBuf, doc};
use mongodb::error::{Error as DriverError, ErrorKind, IndexedWriteError};
use mongodb::options::ReadConcern;
use serde::Serialize;

use crate::document::{
    self, EventDocument, OPERATIONS, OperationDocument, Record, TRANSACTIONS, TransactionDocument,
};
use crate::error::{DUPLICATE_KEY, Failure};
use crate::event_store::Collections;

/// An event with its document and its place in the batch.
struct Item<'a, D> {
    place: usize,
    event: &'a Event,
    document: D,
}

/// The outcomes of some events, with their places in the batch.
type Outcomes = Vec<(usize, AppendOutcome)>;

/// Stores the events of a batch that are new.
pub(crate) async fn append(
    collections: &Collections,
    batch: &EventBatch,
    recorded_at: Timestamp,
) -> Result<Vec<AppendOutcome>, Failure> {
    let (mut transactions, mut operations) = (Vec::new(), Vec::new());
    for (place, event) in batch.events().iter().enumerate() {
        match EventDocument::of(event, recorded_at) {
            EventDocument::Transaction(document) => transactions.push(Item { place, event, document }),
            EventDocument::Operation(document) => operations.push(Item { place, event, document }),
        }
    }
    // Both to their ends, so that a failure of one does not break a connection that the other is using.
    let (transactions, operations) = futures_util::join!(
        append_transactions(collections, transactions),
        append_operations(collections, operations)
    );
    let mut outcomes = transactions?;
    outcomes.append(&mut operations?);
    outcomes.sort_unstable_by_key(|(place, _)| *place);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

async fn append_transactions(
    collections: &Collections,
    items: Vec<Item<'_, TransactionDocument<'_>>>,
) -> Result<Outcomes, Failure> {
    let inserted = insert(&collections.transactions, documents(&items)).await?;
    let (new, known) = split(items, &inserted);
    let mut outcomes = stored(&new);
    let found = read_back(collections, TRANSACTIONS, &known).await?;
    for item in known {
        let outcome = match found.get(item.event.id()) {
            Some(Record::Event(stored)) => compare(item.event, stored),
            Some(Record::Reserved(_)) => AppendOutcome::Conflict,
            None => return Err(Failure::Vanished(TRANSACTIONS)),
        };
        outcomes.push((item.place, outcome));
    }
    Ok(outcomes)
}

async fn append_operations(
    collections: &Collections,
    items: Vec<Item<'_, OperationDocument<'_>>>,
) -> Result<Outcomes, Failure> {
    let reservations: Vec<_> = items.iter().map(|item| item.document.reservation()).collect();
    let inserted = insert(&collections.transactions, reservations.iter().collect()).await?;
    let (mut reserved, known) = split(items, &inserted);
    let mut outcomes = Outcomes::new();
    // Most of those whose id is known are sent again, so what they repeat is read at once.
    let (owners, repeated) = futures_util::join!(
        read_back(collections, TRANSACTIONS, &known),
        read_back(collections, OPERATIONS, &known)
    );
    let (owners, repeated) = (owners?, repeated?);
    for item in known {
        match (owners.get(item.event.id()), repeated.get(item.event.id())) {
            (Some(Record::Event(_)), _) => outcomes.push((item.place, AppendOutcome::Conflict)),
            (Some(Record::Reserved(_)), Some(Record::Event(stored))) => {
                outcomes.push((item.place, compare(item.event, stored)));
            }
            // Reserved by an append that did not get further, or has not yet.
            (Some(Record::Reserved(_)), _) => reserved.push(item),
            (None, _) => return Err(Failure::Vanished(TRANSACTIONS)),
        }
    }
    let inserted = insert(&collections.operations, documents(&reserved)).await?;
    let (new, known) = split(reserved, &inserted);
    outcomes.append(&mut stored(&new));
    let repeated = read_back(collections, OPERATIONS, &known).await?;
    for item in known {
        match repeated.get(item.event.id()) {
            Some(Record::Event(stored)) => outcomes.push((item.place, compare(item.event, stored))),
            _ => return Err(Failure::Vanished(OPERATIONS)),
        }
    }
    Ok(outcomes)
}

fn documents<'i, D>(items: &'i [Item<'_, D>]) -> Vec<&'i D> {
    items.iter().map(|item| &item.document).collect()
}

fn stored<D>(items: &[Item<'_, D>]) -> Outcomes {
    items.iter().map(|item| (item.place, AppendOutcome::Stored)).collect()
}

fn compare(event: &Event, stored: &StoredEvent) -> AppendOutcome {
    if event.is_resend_of(&stored.event) {
        AppendOutcome::Duplicate(stored.recording())
    } else {
        AppendOutcome::Conflict
    }
}

/// What an insert did.
enum Inserted {
    All,
    /// All but these, whose ids are taken. In ascending order.
    AllBut(Vec<usize>),
}

/// Sets the items that were inserted apart from those whose id is taken.
fn split<'a, D>(items: Vec<Item<'a, D>>, inserted: &Inserted) -> (Vec<Item<'a, D>>, Vec<Item<'a, D>>) {
    let Inserted::AllBut(taken) = inserted else { return (items, Vec::new()) };
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for (place, item) in items.into_iter().enumerate() {
        let half = if taken.binary_search(&place).is_ok() { &mut known } else { &mut new };
        half.push(item);
    }
    (new, known)
}

/// Inserts documents in one round trip, each for itself.
async fn insert<T: Serialize + Send + Sync>(
    collection: &Collection<RawDocumentBuf>,
    documents: Vec<&T>,
) -> Result<Inserted, Failure> {
    if documents.is_empty() {
        return Ok(Inserted::All);
    }
    match collection.clone_with_type::<T>().insert_many(documents).ordered(false).await {
        Ok(_) => Ok(Inserted::All),
        Err(error) => taken(&error).map(Inserted::AllBut).ok_or_else(|| error.into()),
    }
}

/// Returns the places of the documents whose ids are taken, if that is all that went wrong.
fn taken(error: &DriverError) -> Option<Vec<usize>> {
    let ErrorKind::InsertMany(failure) = &*error.kind else { return None };
    let errors = failure.write_errors.as_ref()?;
    if failure.write_concern_error.is_some() || !errors.iter().all(is_taken_id) {
        return None;
    }
    let mut places: Vec<usize> = errors.iter().map(|error| error.index).collect();
    places.sort_unstable();
    Some(places)
}

/// Whether the key that is taken is the id, not that of an index which somebody added.
fn is_taken_id(error: &IndexedWriteError) -> bool {
    let names_other = error.message.contains(" index: ") && !error.message.contains(" index: _id_ ");
    error.code == DUPLICATE_KEY && !names_other
}

/// Reads what lies under the ids of some events, in one round trip.
///
/// Linearizable: what is answered is on a majority, and no deposed primary can answer. So a duplicate that is
/// acknowledged is as durable as the first append.
async fn read_back<D>(
    collections: &Collections,
    name: &'static str,
    items: &[Item<'_, D>],
) -> Result<HashMap<EventId, Record>, Failure> {
    let mut found = HashMap::with_capacity(items.len());
    if items.is_empty() {
        return Ok(found);
    }
    let ids: Vec<Bson> = items.iter().map(|item| Bson::String(item.event.id().to_string())).collect();
    let mut cursor = collections
        .of(name)
        // All in the first answer: the next ones of a cursor are not linearizable.
        .find(doc! { "_id": { "$in": ids } })
        .batch_size(u32::try_from(items.len() + 1).unwrap_or(u32::MAX))
        .read_concern(ReadConcern::linearizable())
        .max_time(collections.timeout)
        .await?;
    while cursor.advance().await? {
        let record = document::read(name, cursor.current())?;
        found.insert(record.id().clone(), record);
    }
    Ok(found)
}
