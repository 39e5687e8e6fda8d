//! What waits to be tried again.

use http::StatusCode;
use mini_platform_core::domain::ParcelQuery;

use super::lot::{LotJson, ParcelJson, lot, parcel_query, within_time};
use super::render;
use super::routes::Answer;
use super::state::State;

/// Answers how full the parking lot is, and a page of what waits there, oldest first.
pub(super) async fn list(state: &State, query: &str) -> Answer {
    let (lot, query) = (lot(state)?, parcel_query(ParcelQuery::default(), query)?);
    let found = async { tokio::try_join!(lot.status(), lot.parked(&query)) };
    let (status, page) = within_time(state, found).await?;
    Ok(render::read(StatusCode::OK, &LotJson::new(&status, &page, ParcelJson::new)))
}
