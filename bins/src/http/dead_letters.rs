//! What is tried no more, until a person decides: a dead letter is redriven or discarded.

use http::StatusCode;
use mini_platform_core::domain::{DeadLetter, ParcelId, ParcelQuery, Timestamp};
use serde::Serialize;

use super::lot::{LotJson, ParcelJson, lot, parcel_query, within_time};
use super::problem::Problem;
use super::query::{Parameters, path_part};
use super::render::{self, text};
use super::routes::Answer;
use super::state::State;

/// A dead letter, as it is answered.
#[derive(Serialize)]
struct DeadLetterJson<'a> {
    #[serde(flatten)]
    parcel: ParcelJson<'a>,
    cause: &'static str,
    #[serde(serialize_with = "text")]
    died_at: Timestamp,
}

impl<'a> DeadLetterJson<'a> {
    fn new(letter: &'a DeadLetter) -> Self {
        let DeadLetter { parked, cause, died_at } = letter;
        Self { parcel: ParcelJson::new(parked), cause: cause.as_str(), died_at: *died_at }
    }
}

/// What became of a dead letter, as it is answered.
#[derive(Serialize)]
struct RedrivenJson {
    #[serde(serialize_with = "text")]
    id: ParcelId,
    redriven: bool,
}

/// Answers how full the parking lot is, and a page of its dead letters, oldest first.
pub(super) async fn list(state: &State, query: &str) -> Answer {
    let (lot, query) = (lot(state)?, parcel_query(ParcelQuery::of_dead_letters(), query)?);
    let found = async { tokio::try_join!(lot.status(), lot.dead_letters(&query)) };
    let (status, page) = within_time(state, found).await?;
    Ok(render::read(StatusCode::OK, &LotJson::new(&status, &page, DeadLetterJson::new)))
}

/// Answers one dead letter.
pub(super) async fn show(state: &State, id: &str, query: &str) -> Answer {
    Parameters::none(query)?;
    let (lot, id) = (lot(state)?, parcel_id(id)?);
    let letter = within_time(state, lot.dead_letter(id)).await?.ok_or_else(no_such_letter)?;
    Ok(render::read(StatusCode::OK, &DeadLetterJson::new(&letter)))
}

/// Forgets a dead letter.
pub(super) async fn discard(state: &State, id: &str, query: &str) -> Answer {
    Parameters::none(query)?;
    let (lot, id) = (lot(state)?, parcel_id(id)?);
    if within_time(state, lot.discard(id)).await? { Ok(render::nothing()) } else { Err(no_such_letter()) }
}

/// Parks a dead letter again, to be tried as if it were new.
pub(super) async fn redrive(state: &State, id: &str, query: &str) -> Answer {
    Parameters::none(query)?;
    let (lot, id) = (lot(state)?, parcel_id(id)?);
    let redriven = within_time(state, lot.redrive(id)).await?;
    if !redriven {
        return Err(no_such_letter());
    }
    Ok(render::answer(StatusCode::OK, render::json(&RedrivenJson { id, redriven })))
}

/// Reads an id. What cannot be one is the id of no dead letter.
fn parcel_id(id: &str) -> Result<ParcelId, Problem> {
    let text: String = path_part("id", id)?;
    text.parse().map_err(|_| no_such_letter())
}

fn no_such_letter() -> Problem {
    Problem::not_found("There is no dead letter of this id.")
}
