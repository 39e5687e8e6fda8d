//! The fraud list.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use mini_platform_core::domain::{ClientId, ListInfo, ListVersion, MatchMode, Screening, Timestamp, Verdict};
use mini_platform_core::error::{Fault, RegistryError};
use mini_platform_core::port::{Clock, EntryStream, FraudList, FraudRegistry, ReplaceOutcome};
use redis::{Cmd, Pipeline, Value, cmd};

use crate::connect::Redis;
use crate::connection::Connection;
use crate::entries;
use crate::error::Failure;
use crate::keys::{ListKeys, slots};
use crate::lists::{Installed, KeptList, Lists, NewList};
use crate::staging::{self, Staged, Staging};

/// How many names are looked up by one command. A longer batch is still one round trip and one version.
const LOOKUP_NAMES: usize = 1024;

/// How often a call looks again because the lists changed meanwhile.
///
/// Each time a list came into force, so this only runs out when feeders work without a pause.
const LOOKS: u32 = 16;

const SCREEN: &str = "screen names";
const LOOK: &str = "look at the fraud lists";
const REPLACE: &str = "replace the fraud list";
const ROLL_BACK: &str = "roll the fraud list back";
const CONFIRM: &str = "confirm the fraud list";
const ENTRIES: &str = "open a fraud list";

const KEEPS_CHANGING: Failure = Failure::Lost("the fraud lists keep changing");

/// A [`FraudRegistry`] in Redis. A clone costs a reference count.
///
/// Screening a batch is one round trip, of which Redis answers all from one version. Nothing is remembered between
/// calls but where the list in force lay, which every answer confirms or corrects.
#[derive(Clone)]
pub struct RedisFraudRegistry {
    connection: Connection,
    keys: Arc<ListKeys>,
    staging_ttl: Duration,
    mode: MatchMode,
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<Arc<Record>>>,
    /// The list whose loss was logged last.
    reported: Arc<Mutex<Option<String>>>,
}

/// The record of the lists, as it lies in Redis and what it says.
#[derive(Debug, Default)]
struct Record {
    raw: Option<Vec<u8>>,
    lists: Lists,
}

/// The record, and how many names lie in each place.
struct Look {
    record: Arc<Record>,
    lengths: Vec<u64>,
    /// When a list was last confirmed, as it lies in Redis and what it says.
    raw_confirmed: Option<String>,
    confirmed: Option<Timestamp>,
}

impl fmt::Debug for RedisFraudRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisFraudRegistry").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl RedisFraudRegistry {
    pub(crate) fn new(redis: &Redis, mode: MatchMode, clock: Arc<dyn Clock>) -> Self {
        Self {
            connection: redis.connection.clone(),
            keys: Arc::new(ListKeys::new(&redis.key_prefix, mode)),
            staging_ttl: redis.staging_ttl,
            mode,
            clock,
            seen: Arc::default(),
            reported: Arc::default(),
        }
    }

    fn seen(&self) -> Arc<Record> {
        Arc::clone(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns what a record says; it is read only when it is another than the last one.
    fn read(&self, raw: Option<Vec<u8>>) -> Result<Arc<Record>, Failure> {
        let seen = self.seen();
        if seen.raw == raw {
            return Ok(seen);
        }
        let lists = Lists::read(raw.as_deref())?;
        let record = Arc::new(Record { raw, lists });
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&record);
        Ok(record)
    }

    /// Looks at the record and the lengths of the names, which belong together.
    async fn look(&self, operation: &'static str) -> Result<Look, Fault> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg(self.keys.state());
        for slot in slots() {
            pipeline.cmd("HLEN").arg(self.keys.names(slot));
        }
        pipeline.cmd("GET").arg(self.keys.confirmed());
        pipeline.cmd("GET").arg(self.keys.state());
        for _ in 0..LOOKS {
            let answer: Vec<Value> = self.connection.pipeline(operation, &pipeline).await?;
            let RawLook { before, lengths, confirmed: raw_confirmed, after } =
                RawLook::read(answer).map_err(|_| strange_reply().during(operation))?;
            if before == after {
                let record = self.read(after).map_err(|failure| failure.during(operation))?;
                let confirmed = raw_confirmed.as_deref().map(str::parse).transpose();
                let confirmed = confirmed.map_err(|_| UNREADABLE_TIME.during(operation))?;
                return Ok(Look { record, lengths, raw_confirmed, confirmed });
            }
        }
        Err(KEEPS_CHANGING.during(operation))
    }

    /// Looks names up where the list in force was last. `None` when it is not in force any more: look again.
    ///
    /// The names of a kept list never change, and a list that was dropped never comes back, so what the record says
    /// at the end held while the names were looked up. A transaction would say no more, and Redis takes none when
    /// its memory is full.
    async fn lookup(&self, keys: &[String]) -> Result<Option<Screening>, RegistryError> {
        let seen = self.seen();
        let list = seen.lists.in_force();
        let mut pipeline = Pipeline::new();
        if let Some(list) = list {
            let names = self.keys.names(list.slot);
            for keys in keys.chunks(LOOKUP_NAMES) {
                pipeline.cmd("HMGET").arg(&names).arg(keys);
            }
            pipeline.cmd("HLEN").arg(&names);
        }
        pipeline.cmd("GET").arg(self.keys.state());
        let answer: Vec<Value> = self.connection.pipeline(SCREEN, &pipeline).await?;
        let answer = Lookup::read(answer).map_err(|failure| failure.during(SCREEN))?;
        if answer.raw != seen.raw {
            self.read(answer.raw).map_err(|failure| failure.during(SCREEN))?;
            return Ok(None);
        }
        // A list that lost names, as by eviction, screens nobody: whoever is missing would be clear.
        let whole = list.filter(|list| answer.length == list.entries);
        let list = whole.ok_or(RegistryError::NoList)?;
        let verdicts = verdicts(keys, &answer.published).map_err(|failure| failure.during(SCREEN))?;
        Ok(Some(Screening { version: list.version.clone(), verdicts }))
    }

    async fn stage(&self, list: FraudList, key: &str) -> Result<Staged, RegistryError> {
        let FraudList { mut chunks, .. } = list;
        let mut staging =
            Staging::new(&self.connection, REPLACE, key.to_owned(), self.staging_ttl, self.mode);
        while let Some(chunk) = chunks.next().await {
            for entry in chunk.map_err(RegistryError::Refused)? {
                staging.push(&entry).await?;
            }
        }
        Ok(staging.finish().await?)
    }

    /// Puts a list in force whose names are all written, unless a newer one came first.
    async fn install(&self, new: NewList) -> Result<ReplaceOutcome, RegistryError> {
        let staging = self.keys.staging(&new.load);
        for _ in 0..LOOKS {
            let look = self.look(REPLACE).await?;
            // The driver may have sent the last step twice, and the first time took effect.
            if let Some(list) = look.record.lists.by_load(&new.load) {
                return Ok(ReplaceOutcome::Replaced(look.info(list)));
            }
            let (lists, slot, freed) =
                match look.record.lists.install(new.clone(), |list| look.is_whole(list)) {
                    Installed::Stale { newest } => {
                        staging::discard(&self.connection, &staging).await;
                        return Ok(ReplaceOutcome::Stale { newest });
                    }
                    Installed::Next { lists, slot, freed } => (lists, slot, freed),
                };
            let mut keys = vec![staging.clone(), self.keys.names(slot)];
            keys.extend(freed.into_iter().filter(|freed| *freed != slot).map(|slot| self.keys.names(slot)));
            match self.put_in_force(REPLACE, &look, &lists, &keys, new.info.entries).await? {
                Step::Done => {
                    let info = lists.by_load(&new.load).map(|list| lists.info(list, look.confirmed));
                    return Ok(ReplaceOutcome::Replaced(info.unwrap_or(new.info)));
                }
                Step::Changed => {}
                Step::Lost => {
                    return Err(Failure::Lost("names of the new fraud list are gone").during(REPLACE).into());
                }
            }
        }
        Err(KEEPS_CHANGING.during(REPLACE).into())
    }

    /// Replaces the record, if it is still as it was looked at. Runs where the keys are, in one step.
    async fn put_in_force(
        &self,
        operation: &'static str,
        look: &Look,
        lists: &Lists,
        keys: &[String],
        entries: u64,
    ) -> Result<Step, Fault> {
        let next = lists.write().map_err(|failure| failure.during(operation))?;
        let mut eval: Cmd = cmd("EVAL");
        eval.arg(include_str!("install.lua")).arg(keys.len() + 1).arg(self.keys.state()).arg(keys);
        eval.arg(look.record.raw.as_deref().unwrap_or_default()).arg(next).arg(entries);
        self.step(operation, &eval).await
    }

    /// Notes when a list was confirmed, if record and time are still as they were looked at.
    async fn put_confirmed(&self, look: &Look, at: Timestamp) -> Result<Step, Fault> {
        let mut eval: Cmd = cmd("EVAL");
        eval.arg(include_str!("confirm.lua")).arg(2).arg(self.keys.state()).arg(self.keys.confirmed());
        eval.arg(look.record.raw.as_deref().unwrap_or_default());
        eval.arg(look.raw_confirmed.as_deref().unwrap_or_default()).arg(at.to_string());
        self.step(CONFIRM, &eval).await
    }

    async fn step(&self, operation: &'static str, eval: &Cmd) -> Result<Step, Fault> {
        let step: String = self.connection.command(operation, eval).await?;
        match step.as_str() {
            "done" => Ok(Step::Done),
            "changed" => Ok(Step::Changed),
            "lost" => Ok(Step::Lost),
            _ => Err(strange_reply().during(operation)),
        }
    }

    /// Logs once a list that its names were lost from it.
    fn report(&self, look: &Look) {
        let Some(list) = look.record.lists.in_force().filter(|list| !look.is_whole(list)) else { return };
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.as_ref() != Some(&list.load) {
            tracing::warn!(
                list.version = %list.version,
                list.entries = list.entries,
                "the fraud list in redis lost names, so nobody is screened; feed it again, and set maxmemory-policy noeviction"
            );
            *reported = Some(list.load.clone());
        }
    }
}

/// What became of an attempt to change the lists.
enum Step {
    Done,
    Changed,
    Lost,
}

impl Look {
    /// Whether all names of a kept list are there.
    fn is_whole(&self, list: &KeptList) -> bool {
        self.lengths.get(usize::from(list.slot)) == Some(&list.entries)
    }

    /// Returns the list in force, if all of its names are there.
    fn in_force(&self) -> Option<&KeptList> {
        self.record.lists.in_force().filter(|list| self.is_whole(list))
    }

    /// Returns what is known of a kept list.
    fn info(&self, list: &KeptList) -> ListInfo {
        self.record.lists.info(list, self.confirmed)
    }
}

/// What a lookup answers.
struct Lookup {
    raw: Option<Vec<u8>>,
    length: u64,
    /// The published name of each key that is on the list.
    published: Vec<Option<Vec<u8>>>,
}

impl Lookup {
    fn read(answer: Vec<Value>) -> Result<Self, Failure> {
        Self::parse(answer).map_err(|_| strange_reply())
    }

    fn parse(mut answer: Vec<Value>) -> Result<Self, redis::ParsingError> {
        let raw = redis::from_redis_value(answer.pop().unwrap_or(Value::Nil))?;
        let length = redis::from_redis_value(answer.pop().unwrap_or(Value::Int(0)))?;
        let mut published = Vec::new();
        for names in answer {
            published.extend(redis::from_redis_value::<Vec<Option<Vec<u8>>>>(names)?);
        }
        Ok(Self { raw, length, published })
    }
}

/// What a look answers: the record before and after the rest was asked for.
struct RawLook {
    before: Option<Vec<u8>>,
    lengths: Vec<u64>,
    confirmed: Option<String>,
    after: Option<Vec<u8>>,
}

impl RawLook {
    fn read(mut answer: Vec<Value>) -> Result<Self, redis::ParsingError> {
        let after = redis::from_redis_value(answer.pop().unwrap_or(Value::Nil))?;
        let confirmed = redis::from_redis_value(answer.pop().unwrap_or(Value::Nil))?;
        let mut answer = answer.into_iter();
        let before = redis::from_redis_value(answer.next().unwrap_or(Value::Nil))?;
        let lengths = answer.map(redis::from_redis_value).collect::<Result<_, _>>()?;
        Ok(Self { before, lengths, confirmed, after })
    }
}

const UNREADABLE_TIME: Failure = Failure::Corrupt(
    "the time at which the fraud list was confirmed is damaged; delete its key and feed the list again",
);

fn strange_reply() -> Failure {
    Failure::Corrupt("the server answered another type than is right")
}

fn verdicts(keys: &[String], published: &[Option<Vec<u8>>]) -> Result<Vec<Verdict>, Failure> {
    if keys.len() != published.len() {
        return Err(strange_reply());
    }
    let verdict = |(key, published): (&String, &Option<Vec<u8>>)| match published {
        Some(published) => Ok(Verdict::Hit { entry: entries::entry(key.as_bytes(), published)? }),
        None => Ok(Verdict::Clear),
    };
    keys.iter().zip(published).map(verdict).collect()
}

/// A name for a load that no other ever had or will have, also when Redis forgot all others.
fn new_load() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| Failure::Internal("the system gives no random numbers"))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

#[async_trait]
impl FraudRegistry for RedisFraudRegistry {
    async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
        let keys: Vec<String> =
            subjects.iter().map(|subject| staging::key_of(self.mode, subject.as_str())).collect();
        for _ in 0..LOOKS {
            if let Some(screening) = self.lookup(&keys).await? {
                return Ok(screening);
            }
        }
        Err(KEEPS_CHANGING.during(SCREEN).into())
    }

    async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
        let look = self.look(LOOK).await?;
        self.report(&look);
        Ok(look.in_force().map(|list| look.info(list)))
    }

    async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
        let look = self.look(LOOK).await?;
        let whole = look.record.lists.kept().iter().filter(|list| look.is_whole(list));
        Ok(whole.map(|list| look.info(list)).collect())
    }

    async fn replace(&self, list: FraudList) -> Result<ReplaceOutcome, RegistryError> {
        let look = self.look(REPLACE).await?;
        if let Some(newest) = look.record.lists.refuses(&list.version, |list| look.is_whole(list)) {
            return Ok(ReplaceOutcome::Stale { newest: newest.clone() });
        }
        let (version, source) = (list.version.clone(), list.source.clone());
        let load = new_load().map_err(|failure| failure.during(REPLACE))?;
        let key = self.keys.staging(&load);
        let installed = match self.stage(list, &key).await {
            Ok(Staged { entries, checksum }) => {
                let loaded_at = self.clock.now();
                let info = ListInfo { version, entries, source, loaded_at, confirmed_at: loaded_at };
                self.install(NewList { load, checksum, info }).await
            }
            Err(error) => Err(error),
        };
        if installed.is_err() {
            staging::discard(&self.connection, &key).await;
        }
        installed
    }

    async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
        for _ in 0..LOOKS {
            let look = self.look(ROLL_BACK).await?;
            let list = look.record.lists.find(version).filter(|list| look.is_whole(list));
            let list = list.ok_or_else(|| RegistryError::UnknownVersion(version.clone()))?;
            let lists = look.record.lists.with_in_force(list);
            let names = [self.keys.names(list.slot)];
            match self.put_in_force(ROLL_BACK, &look, &lists, &names, list.entries).await? {
                Step::Done => return Ok(lists.info(list, look.confirmed)),
                Step::Changed | Step::Lost => {}
            }
        }
        Err(KEEPS_CHANGING.during(ROLL_BACK).into())
    }

    async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
        for _ in 0..LOOKS {
            let look = self.look(CONFIRM).await?;
            let list = look.in_force().filter(|list| list.version == *version);
            let Some(list) = list else { return Ok(None) };
            let lists = &look.record.lists;
            let now = self.clock.now();
            let at = lists.confirmed_at(look.confirmed).map_or(now, |before| before.max(now));
            match self.put_confirmed(&look, at).await? {
                Step::Done => return Ok(Some(lists.info(list, Some(at)))),
                Step::Changed | Step::Lost => {}
            }
        }
        Err(KEEPS_CHANGING.during(CONFIRM).into())
    }

    async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
        let look = self.look(ENTRIES).await?;
        let list = look.record.lists.find(version).filter(|list| look.is_whole(list)).cloned();
        let list = list.ok_or_else(|| RegistryError::UnknownVersion(version.clone()))?;
        Ok(entries::entries(&self.connection, &self.keys, list))
    }
}
