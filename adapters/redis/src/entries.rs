//! Reading a kept list back.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use mini_platform_core::domain::{ListEntry, ListVersion};
use mini_platform_core::error::RegistryError;
use mini_platform_core::port::EntryStream;
use redis::Pipeline;

use crate::connection::Connection;
use crate::error::Failure;
use crate::keys::ListKeys;
use crate::lists::{KeptList, Lists, checksum};

/// How many entries are read in one round trip, about.
const CHUNK: usize = 1024;

const READ: &str = "read a fraud list";

/// A place in a kept list.
///
/// The names of a kept list never change, and Redis repeats names of such a hash only when it shrinks, so each
/// comes once. A server that restarts or fails over may order them anew; then their number or sum is wrong at the
/// end, and the stream ends with an error.
struct Reading {
    connection: Connection,
    keys: Arc<ListKeys>,
    list: KeptList,
    /// `None` when all is read, or the stream broke.
    cursor: Option<u64>,
    entries: u64,
    checksum: u64,
}

/// What one round trip answers: the next cursor with keys and published names in turn, and the record after that.
type Answer = ((u64, Vec<Vec<u8>>), Option<Vec<u8>>);

pub(crate) fn entries(connection: &Connection, keys: &Arc<ListKeys>, list: KeptList) -> EntryStream {
    let reading = Reading {
        connection: connection.clone(),
        keys: Arc::clone(keys),
        list,
        cursor: Some(0),
        entries: 0,
        checksum: 0,
    };
    stream::unfold(reading, async |mut reading| {
        let cursor = reading.cursor.take()?;
        let chunk = reading.read(cursor).await;
        Some((chunk, reading))
    })
    .boxed()
}

impl Reading {
    async fn read(&mut self, cursor: u64) -> Result<Vec<ListEntry>, RegistryError> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("HSCAN").arg(self.keys.names(self.list.slot)).arg(cursor).arg("COUNT").arg(CHUNK);
        pipeline.cmd("GET").arg(self.keys.state());
        let ((next, names), state): Answer = self.connection.pipeline(READ, &pipeline).await?;
        let lists = Lists::read(state.as_deref()).map_err(|failure| failure.during(READ))?;
        // A list that is still kept was kept all the time.
        if lists.by_load(&self.list.load).is_none() {
            return Err(RegistryError::UnknownVersion(self.version()));
        }
        let entries = self.take(&names).map_err(|failure| failure.during(READ))?;
        if next > 0 {
            self.cursor = Some(next);
        } else if (self.entries, self.checksum) != (self.list.entries, self.list.checksum) {
            return Err(Failure::Lost("names are missing or came twice").during(READ).into());
        }
        Ok(entries)
    }

    fn take(&mut self, names: &[Vec<u8>]) -> Result<Vec<ListEntry>, Failure> {
        let mut entries = Vec::with_capacity(names.len() / 2);
        for pair in names.chunks(2) {
            let [key, published] = pair else { return Err(Failure::Corrupt("a name has no spelling")) };
            self.entries += 1;
            self.checksum = checksum(self.checksum, key, published);
            entries.push(entry(key, published)?);
        }
        Ok(entries)
    }

    fn version(&self) -> ListVersion {
        self.list.version.clone()
    }
}

/// The entry of a key: its published spelling, or the key itself when that is the same.
pub(crate) fn entry(key: &[u8], published: &[u8]) -> Result<ListEntry, Failure> {
    let text = if published.is_empty() { key } else { published };
    let text = std::str::from_utf8(text).ok().and_then(|text| ListEntry::new(text).ok());
    text.ok_or(Failure::Corrupt("a name of the fraud list is damaged; feed the list again"))
}
