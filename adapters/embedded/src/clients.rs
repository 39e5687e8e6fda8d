//! Which clients there are.
//!
//! The keyspace `clients` holds the id of every client of a stored event, in the order of ids, in which `timeline`
//! does not hold them. A client is written with an event that is stored, without a look whether it is there
//! already: writing it again changes nothing. What was written lately is remembered, so that it costs little.

use std::collections::HashSet;
use std::iter;
use std::ops::Bound;

use fjall::{Guard, Keyspace, Readable, Snapshot};
use foldhash::fast::RandomState;
use mini_platform_core::domain::{ClientId, ClientQuery};

use crate::error::{BadRecord, Failure};
use crate::key;
use crate::store::Store;

/// How many clients are remembered at most, which takes about 4 MiB when their ids are short.
const MAX_KNOWN: usize = 100_000;

/// Clients that are surely in the keyspace, or will be with the group that is being decided.
#[derive(Default)]
pub(crate) struct KnownClients {
    known: HashSet<ClientId, RandomState>,
}

impl KnownClients {
    /// Takes a client in, and says whether it was not known, so that it is to be written.
    pub(crate) fn add(&mut self, client: &ClientId) -> bool {
        if self.known.contains(client) {
            return false;
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(client.clone())
    }
}

/// Reads one client more than fits on the page, in ascending order of their ids.
pub(crate) fn in_order(store: &Store, query: &ClientQuery) -> Result<Vec<ClientId>, Failure> {
    let start = query.after().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
    let found = store.snapshot().range::<&[u8], _>(&store.clients, (start, Bound::Unbounded));
    let found = found.take(query.size().get() + 1);
    found.map(|client| Ok(client_id("clients", Some(&client.key()?))?)).collect()
}

/// Returns the clients of `timeline` or `links` in the order of keys, behind one of them. Looks at one key of each.
pub(crate) fn by_key<'a>(
    snapshot: &'a Snapshot,
    keyspace: &'a Keyspace,
    after: Option<&str>,
) -> impl Iterator<Item = Result<ClientId, Failure>> + 'a {
    let mut start = Some(after.map(key::end_of_client).unwrap_or_default());
    iter::from_fn(move || {
        let found = snapshot.range(keyspace, start.take()?..).next()?;
        let client = first_client(found);
        // Nothing is looked at behind a key that cannot be read.
        start = client.as_ref().ok().map(|client| key::end_of_client(client.as_str()));
        Some(client)
    })
}

fn first_client(found: Guard) -> Result<ClientId, Failure> {
    let key = found.key()?;
    Ok(client_id("timeline or links", key::client_of(&key))?)
}

fn client_id(keyspace: &'static str, bytes: Option<&[u8]>) -> Result<ClientId, BadRecord> {
    let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let client = text.and_then(|text| ClientId::new(text).ok());
    client.ok_or(BadRecord { keyspace, reason: "its key holds no client id" })
}

#[cfg(test)]
mod tests {
    use mini_platform_core::testkit::client;

    use super::*;

    #[test]
    fn a_client_is_written_once_until_too_many_are_known() {
        let mut known = KnownClients::default();
        assert_eq!(["ann", "bob", "ann"].map(|name| known.add(&client(name))), [true, true, false]);
        let others = (0..MAX_KNOWN).filter(|number| known.add(&client(&format!("c{number}")))).count();
        assert_eq!(others, MAX_KNOWN);
        assert!(known.known.len() <= MAX_KNOWN, "memory stays bounded");
        assert!(known.add(&client("ann")), "what is forgotten is written again");
    }
}
