//! The indexes that queries go by: made and checked at start.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};

use crate::document::{OPERATIONS, TRANSACTIONS};
use crate::error::{ConnectError, Failure};

/// The server's own code for "there is no such collection".
const NAMESPACE_NOT_FOUND: i32 = 26;

/// The server's own codes for "there is an index like this, but another one".
const INDEX_CONFLICTS: [i32; 2] = [85, 86];

/// An index of ours: a client's events in the order of time, those of one instant by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) collection: &'static str,
    pub(crate) name: &'static str,
    /// The fields, all ascending; reading backwards gives the newest first.
    pub(crate) fields: &'static [&'static str],
    /// Leaves reservations out, which have no parties.
    partial: bool,
}

pub(crate) const SENDER: Index = Index {
    collection: TRANSACTIONS,
    name: "sender_time",
    fields: &["sender", "occurred_at", "_id"],
    partial: true,
};

pub(crate) const RECEIVER: Index = Index {
    collection: TRANSACTIONS,
    name: "receiver_time",
    fields: &["receiver", "occurred_at", "_id"],
    partial: true,
};

pub(crate) const CLIENT: Index = Index {
    collection: OPERATIONS,
    name: "client_operation_time",
    fields: &["client", "operation", "occurred_at", "_id"],
    partial: false,
};

/// Every index that the store needs.
pub(crate) const ALL: [Index; 3] = [SENDER, RECEIVER, CLIENT];

impl Index {
    /// Returns the field that holds the client.
    pub(crate) fn party(&self) -> &'static str {
        self.fields.first().copied().unwrap_or_default()
    }

    /// Returns the fields, all in one direction: 1 or -1.
    pub(crate) fn order(&self, direction: i32) -> Document {
        self.fields.iter().map(|field| ((*field).to_owned(), Bson::Int32(direction))).collect()
    }

    fn filter(&self) -> Option<Document> {
        self.partial.then(|| doc! { self.party(): { "$exists": true } })
    }

    fn model(&self) -> IndexModel {
        let options = IndexOptions::builder().name(self.name.to_owned());
        let options = options.partial_filter_expression(self.filter()).build();
        IndexModel::builder().keys(self.order(1)).options(options).build()
    }

    fn wrong(&self) -> ConnectError {
        ConnectError::WrongIndex { collection: self.collection, index: self.name }
    }

    /// Whether an index of this name would answer our queries, in our order.
    fn is(&self, found: &IndexModel) -> bool {
        let ascending = |value: &Bson| match value {
            Bson::Int32(number) => *number == 1,
            Bson::Int64(number) => *number == 1,
            Bson::Double(number) => *number == 1.0,
            _ => false,
        };
        let same_keys = found.keys.keys().map(String::as_str).eq(self.fields.iter().copied())
            && found.keys.values().all(ascending);
        let options = found.options.clone().unwrap_or_default();
        same_keys
            && options.partial_filter_expression == self.filter()
            && options.collation.is_none()
            && !options.unique.unwrap_or(false)
            && !options.sparse.unwrap_or(false)
            && !options.hidden.unwrap_or(false)
            && options.expire_after.is_none()
    }
}

/// Checks the indexes that are there and makes those that are missing.
pub(crate) async fn ensure(database: &Database) -> Result<(), ConnectError> {
    for collection in [TRANSACTIONS, OPERATIONS] {
        check(collection, &list(database, collection).await?)?;
    }
    for index in ALL {
        // Always asked for: it costs nothing when the index is there, and finds out whether we may write.
        let made = database.collection::<Document>(index.collection).create_index(index.model()).await;
        made.map_err(|error| match Failure::code_of(&error) {
            Some(code) if INDEX_CONFLICTS.contains(&code) => index.wrong(),
            _ => ConnectError::of(Failure::from(error)),
        })?;
    }
    Ok(())
}

async fn list(database: &Database, collection: &str) -> Result<Vec<IndexModel>, ConnectError> {
    let failed = |error| ConnectError::of(Failure::from(error));
    match database.collection::<Document>(collection).list_indexes().await {
        Ok(cursor) => cursor.try_collect().await.map_err(failed),
        Err(error) if Failure::code_of(&error) == Some(NAMESPACE_NOT_FOUND) => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

fn check(collection: &'static str, found: &[IndexModel]) -> Result<(), ConnectError> {
    for model in found {
        let Some(options) = &model.options else { continue };
        let name = options.name.as_deref().unwrap_or_default();
        // A collection with a collation of its own compares ids and names by it, not byte by byte.
        if name == "_id_" && options.collation.is_some() {
            return Err(ConnectError::WrongIndex { collection, index: "_id_" });
        }
        let ours = ALL.iter().find(|index| index.collection == collection && index.name == name);
        if let Some(index) = ours.filter(|index| !index.is(model)) {
            return Err(index.wrong());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_recognised_by_its_whole_definition() {
        assert!(ALL.iter().all(|index| index.is(&index.model())), "ours are ours");
        let mut other_order = SENDER.model();
        other_order.keys = doc! { "occurred_at": 1, "sender": 1, "_id": 1 };
        let mut descending = SENDER.model();
        descending.keys = SENDER.order(-1);
        let mut whole = SENDER.model();
        whole.options.as_mut().unwrap().partial_filter_expression = None;
        let mut unique = SENDER.model();
        unique.options.as_mut().unwrap().unique = Some(true);
        let mut hidden = SENDER.model();
        hidden.options.as_mut().unwrap().hidden = Some(true);
        for other in [other_order, descending, whole, unique, hidden] {
            assert!(!SENDER.is(&other), "{other:?}");
            assert!(check(TRANSACTIONS, std::slice::from_ref(&other)).is_err(), "{other:?}");
            assert!(check(OPERATIONS, &[other]).is_ok(), "other collections may use the name");
        }
    }
}
