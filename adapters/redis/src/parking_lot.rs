//! Events that wait.
//!
//! Every call is one script, so it is all or nothing, and of calls that race one comes first. All keys are known to
//! who sends it: lanes have no keys of their own, but are ranges of one sorted set.

mod record;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mini_platform_core::domain::{
    DeadLetter, LeaseId, LeaseRequest, LeasedParcel, LotLimits, LotStatus, Page, Parcel, ParcelId,
    ParcelQuery, ParcelVerdict, ParkedParcel, Settled, Settlement,
};
use mini_platform_core::error::{Fault, LotError};
use mini_platform_core::port::ParkingLot;
use redis::{Cmd, FromRedisValue, cmd};

use crate::connection::Connection;
use crate::error::Failure;
use crate::keys::lot_keys;
use record::{Record, cause_code, reason_code, timestamp};
use script::LotScript;

/// The form in which parcels and lanes are kept, for programs that keep them in another.
const FORM: &str = "1";

const ANOTHER_FORM: Failure =
    Failure::Corrupt("the parking lot is kept in the form of another version of this program");

/// The longest pause or lease, in microseconds: 142 years. Scripts count exactly up to twice as much, and add the time.
const MAX_MICROS: u64 = 1 << 52;

/// Up to which number scripts count exactly.
const MAX_COUNT: u64 = 1 << 53;

/// The finest difference of two times.
const TICK: Duration = Duration::from_micros(1);

macro_rules! lot_script {
    ($name:literal) => {
        LotScript::new(concat!(
            include_str!("parking_lot/common.lua"),
            include_str!(concat!("parking_lot/", $name, ".lua"))
        ))
    };
}

static CHECK: LotScript = lot_script!("check");
static PARK: LotScript = lot_script!("park");
static LEASE: LotScript = lot_script!("lease");
static SETTLE: LotScript = lot_script!("settle");
static STATUS: LotScript = lot_script!("status");
static PAGE: LotScript = lot_script!("page");
static REDRIVE: LotScript = lot_script!("redrive");
static DISCARD: LotScript = lot_script!("discard");

/// A [`ParkingLot`] in Redis. A clone costs a reference count.
///
/// Every call is one round trip and takes no longer than the timeout. Times are those of the server. What is parked is
/// as durable as the server is set to be, which [`Redis::parking_lot`](crate::Redis::parking_lot) checks; when a
/// replica takes over, the latest may be lost, and what was settled last may come again.
#[derive(Clone)]
pub struct RedisParkingLot {
    connection: Connection,
    keys: Arc<[String]>,
    limits: LotLimits,
}

impl fmt::Debug for RedisParkingLot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisParkingLot").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Sent {
    AsText,
    AsHash,
}

/// Parcels as a page answers them: of each its id and its record.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Parcels as a lease answers them: of each the number of its lane, its id and its record.
type LeasedRecords = Vec<(u64, Vec<u8>, Vec<u8>)>;

impl RedisParkingLot {
    pub(crate) fn new(connection: Connection, key_prefix: &str, limits: LotLimits) -> Self {
        Self { connection, keys: lot_keys(key_prefix).into(), limits }
    }

    /// Checks that everything may be done that is needed, and that the lot is kept in a form that is known.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let arguments = |call: &mut Cmd| {
            call.arg(FORM);
        };
        for sent in [Sent::AsText, Sent::AsHash] {
            let form: String = self.send(sent, &CHECK, &arguments).await?;
            if form != FORM {
                return Err(ANOTHER_FORM);
            }
        }
        Ok(())
    }

    /// Runs a script; with its text, if the server does not know it (any more).
    async fn call<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &LotScript,
        arguments: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<T, Fault> {
        let answer = match self.send(Sent::AsHash, script, &arguments).await {
            Err(Failure::Server(code)) if code == "NOSCRIPT" => {
                self.send(Sent::AsText, script, &arguments).await
            }
            answer => answer,
        };
        answer.map_err(|failure| failure.during(operation))
    }

    async fn send<T: FromRedisValue>(
        &self,
        sent: Sent,
        script: &LotScript,
        arguments: &(impl Fn(&mut Cmd) + Send + Sync),
    ) -> Result<T, Failure> {
        let mut call = match sent {
            Sent::AsText => cmd("EVAL"),
            Sent::AsHash => cmd("EVALSHA"),
        };
        match sent {
            Sent::AsText => call.arg(script.text()),
            Sent::AsHash => call.arg(script.hash()),
        };
        call.arg(self.keys.len()).arg(&*self.keys);
        arguments(&mut call);
        self.connection.try_command(&call).await
    }

    async fn page(
        &self,
        operation: &'static str,
        state: &'static str,
        query: &ParcelQuery,
    ) -> Result<Vec<Record>, Fault> {
        let bound = match query.after() {
            Some(after) => [b"(", &after.to_bytes()[..]].concat(),
            None => b"-".to_vec(),
        };
        // One more than fits, to see whether there is another page.
        let limit = query.size().get() + 1;
        let records: Records = self
            .call(operation, &PAGE, |call| {
                call.arg(state).arg(&bound).arg(limit);
            })
            .await?;
        let records = records.iter().map(|(id, record)| Record::read(id, record)).collect::<Result<_, _>>();
        records.map_err(|failure| failure.during(operation))
    }
}

/// Reads what was leased, which comes lane by lane. A parcel that cannot be read is left out, and so are those behind it
/// in its lane, as they must not overtake it: they wait until the lease ends.
fn read_lanes(leased: LeasedRecords) -> Vec<Record> {
    let mut read = Vec::with_capacity(leased.len());
    let mut held_up = None;
    for (lane, id, record) in leased {
        if held_up == Some(lane) {
            continue;
        }
        match Record::read(&id, &record) {
            Ok(record) => read.push(record),
            Err(_) => {
                let parcel = id.try_into().ok().map(|id| tracing::field::display(ParcelId::from_bytes(id)));
                tracing::error!(
                    parcel.id = parcel,
                    "a parcel is lost or cannot be read, and holds up the later ones of its client"
                );
                held_up = Some(lane);
            }
        }
    }
    read
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).map_or(MAX_MICROS, |micros| micros.min(MAX_MICROS))
}

fn add_parcel(call: &mut Cmd, parcel: &Parcel) {
    call.arg(&parcel.id.to_bytes()).arg(parcel.client.as_str()).arg(parcel.content.as_bytes());
    call.arg(reason_code(parcel.reason));
}

fn add_settlement(call: &mut Cmd, settlement: &Settlement) {
    let (verdict, attempts, reason, pause, cause) = match settlement.verdict() {
        ParcelVerdict::Done => ("done", 0, 0, 0, 0),
        ParcelVerdict::Retry { reason, after, counts } => {
            ("retry", u8::from(counts), reason_code(reason), micros(after), 0)
        }
        ParcelVerdict::Dead { cause, last } => {
            ("dead", u8::from(last.is_some()), last.map_or(0, reason_code), 0, cause_code(cause))
        }
    };
    call.arg(settlement.lease().0).arg(&settlement.parcel().to_bytes());
    call.arg(verdict).arg(attempts).arg(reason).arg(pause).arg(cause);
}

#[async_trait]
impl ParkingLot for RedisParkingLot {
    async fn park(&self, parcels: &[Parcel]) -> Result<(), LotError> {
        let LotLimits { parcels: most, bytes } = self.limits;
        let arguments = |call: &mut Cmd| {
            call.arg(most.min(MAX_COUNT)).arg(bytes.min(MAX_COUNT));
            parcels.iter().for_each(|parcel| add_parcel(call, parcel));
        };
        let answer: String = self.call("park events", &PARK, arguments).await?;
        if answer == "full" { Err(LotError::Full) } else { Ok(()) }
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError> {
        // At least one tick, so that no lane comes twice.
        let ttl = micros(request.ttl().max(TICK));
        let arguments = |call: &mut Cmd| {
            call.arg(request.max()).arg(ttl);
        };
        let (lease, leased, lost): (u64, LeasedRecords, u64) =
            self.call("lease parked events", &LEASE, arguments).await?;
        if lost > 0 {
            tracing::error!(
                lanes.lost = lost,
                "lanes of the parking lot lost their record or all of their places"
            );
        }
        let records = read_lanes(leased).into_iter();
        Ok(records.map(|record| LeasedParcel::new(LeaseId(lease), record.parked)).collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, LotError> {
        let arguments = |call: &mut Cmd| {
            settlements.iter().for_each(|settlement| add_settlement(call, settlement));
        };
        let answers: Vec<bool> = self.call("settle parked events", &SETTLE, arguments).await?;
        Ok(answers.into_iter().map(|done| if done { Settled::Yes } else { Settled::LeaseLost }).collect())
    }

    async fn status(&self) -> Result<LotStatus, LotError> {
        const OPERATION: &str = "count parked events";
        let (parked, dead, bytes, oldest): (u64, u64, u64, u64) =
            self.call(OPERATION, &STATUS, |_| ()).await?;
        let oldest = (parked > 0).then(|| timestamp(oldest)).transpose();
        let oldest_parked_at = oldest.map_err(|failure| failure.during(OPERATION))?;
        Ok(LotStatus { parked, dead, bytes, oldest_parked_at })
    }

    async fn parked(&self, query: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError> {
        let records = self.page("list parked events", "parked", query).await?;
        let items = records.into_iter().map(|record| record.parked).collect();
        Ok(Page::cut(items, query.size(), |last: &ParkedParcel| query.token_after(last.parcel.id)))
    }

    async fn dead_letters(&self, query: &ParcelQuery) -> Result<Page<DeadLetter>, LotError> {
        let records = self.page("list dead letters", "dead", query).await?;
        let items = records.into_iter().filter_map(Record::dead_letter).collect();
        Ok(Page::cut(items, query.size(), |last: &DeadLetter| query.token_after(last.parked.parcel.id)))
    }

    async fn dead_letter(&self, id: ParcelId) -> Result<Option<DeadLetter>, LotError> {
        const OPERATION: &str = "read a dead letter";
        let id = id.to_bytes();
        let [_, parcels, ..] = &*self.keys else { return Ok(None) };
        let mut command = cmd("HMGET");
        command.arg(parcels).arg(&id);
        let (record,): (Option<Vec<u8>>,) = self.connection.command(OPERATION, &command).await?;
        let record = record.map(|record| Record::read(&id, &record)).transpose();
        Ok(record.map_err(|failure| failure.during(OPERATION))?.and_then(Record::dead_letter))
    }

    async fn redrive(&self, id: ParcelId) -> Result<bool, LotError> {
        Ok(self
            .call("redrive a dead letter", &REDRIVE, |call| {
                call.arg(&id.to_bytes());
            })
            .await?)
    }

    async fn discard(&self, id: ParcelId) -> Result<bool, LotError> {
        Ok(self
            .call("discard a dead letter", &DISCARD, |call| {
                call.arg(&id.to_bytes());
            })
            .await?)
    }
}
