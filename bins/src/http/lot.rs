//! The parking lot behind the API: calls that end in time, and how parcels are answered.

use std::time::Duration;

use data_encoding::BASE64;
use mini_platform_core::codec::ParkedEvent;
use mini_platform_core::domain::{
    Event, LotStatus, Page, Parcel, ParcelId, ParcelQuery, ParkedParcel, Timestamp,
};
use mini_platform_core::error::{Causes, Fault, FaultKind, LotError};
use mini_platform_core::port::ParkingLot;
use serde::{Serialize, Serializer};

use super::problem::{Code, Problem};
use super::query::Parameters;
use super::render::{EventJson, PageJson, optional_text, text};
use super::state::State;

/// How long the lot may take to answer: far above what a page takes, and less than most clients wait.
const LOT_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the parking lot.
pub(super) fn lot(state: &State) -> Result<&dyn ParkingLot, Problem> {
    let no_lot = || Problem::new(Code::NoParkingLot, "Nothing is parked here: parking.backend is \"none\".");
    state.dispatcher.parking_lot().map(|lot| &**lot).ok_or_else(no_lot)
}

/// Waits for the parking lot, for as long as it may take.
pub(super) async fn within_time<T>(
    state: &State,
    call: impl Future<Output = Result<T, LotError>>,
) -> Result<T, Problem> {
    let answer = match tokio::time::timeout(LOT_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::new("parking lot", "answer in time", FaultKind::Timeout).into()),
    };
    answer.map_err(|error| state.failed(&error))
}

/// Reads which of some parcels are asked for.
pub(super) fn parcel_query(of: ParcelQuery, query: &str) -> Result<ParcelQuery, Problem> {
    let parameters = Parameters::parse(query, &["limit", "page_token"])?;
    let query = of.with_size(parameters.page_size()?);
    match parameters.page_token()? {
        Some(token) => query.with_token(&token).map_err(|rule| Problem::parameter("page_token", rule)),
        None => Ok(query),
    }
}

/// How full the lot is and a page of what it holds, as they are answered.
#[derive(Serialize)]
pub(super) struct LotJson<'a, T> {
    parked: u64,
    dead_letters: u64,
    bytes: u64,
    #[serde(serialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
    oldest_parked_at: Option<Timestamp>,
    #[serde(flatten)]
    page: PageJson<'a, T>,
}

impl<'a, T> LotJson<'a, T> {
    pub(super) fn new<D>(status: &LotStatus, page: &'a Page<D>, item: impl Fn(&'a D) -> T) -> Self {
        let LotStatus { parked, dead: dead_letters, bytes, oldest_parked_at } = *status;
        Self { parked, dead_letters, bytes, oldest_parked_at, page: PageJson::new(page, item) }
    }
}

/// A parcel, as it is answered.
#[derive(Serialize)]
pub(super) struct ParcelJson<'a> {
    #[serde(serialize_with = "text")]
    id: ParcelId,
    #[serde(flatten)]
    content: ContentJson<'a>,
    attempts: u32,
    reason: &'static str,
    #[serde(serialize_with = "text")]
    parked_at: Timestamp,
}

/// What a parcel holds. What cannot be read is answered as it is, for people to look at.
#[derive(Serialize)]
#[serde(untagged)]
enum ContentJson<'a> {
    Event {
        #[serde(serialize_with = "event_json")]
        event: Event,
        #[serde(serialize_with = "text")]
        received_at: Timestamp,
    },
    Unreadable {
        client: &'a str,
        content: String,
        unreadable: String,
    },
}

fn event_json<S: Serializer>(event: &Event, serializer: S) -> Result<S::Ok, S::Error> {
    EventJson::new(event).serialize(serializer)
}

impl<'a> ParcelJson<'a> {
    pub(super) fn new(parked: &'a ParkedParcel) -> Self {
        let ParkedParcel { parcel, attempts, parked_at } = parked;
        let (attempts, parked_at, reason) = (*attempts, *parked_at, parcel.reason.as_str());
        Self { id: parcel.id, content: ContentJson::new(parcel), attempts, reason, parked_at }
    }
}

impl<'a> ContentJson<'a> {
    fn new(parcel: &'a Parcel) -> Self {
        match ParkedEvent::decode(&parcel.content) {
            Ok(ParkedEvent { event, received_at, .. }) => Self::Event { event, received_at },
            Err(error) => Self::Unreadable {
                client: parcel.client.as_str(),
                content: BASE64.encode(parcel.content.as_bytes()),
                unreadable: Causes(&error).to_string(),
            },
        }
    }
}
