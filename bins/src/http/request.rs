//! A request, taken out of warp.

use bytes::Buf;
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, Method};
use warp::path::FullPath;
use warp::{Filter, Rejection};

use super::body::BodyStream;

/// Everything of a request but what the route made of its path.
pub(super) struct ApiRequest {
    pub(super) method: Method,
    pub(super) path: FullPath,
    /// The query string, as it was sent.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: BodyStream,
}

/// Takes a request. Never rejects, so a rejection can only mean that no path matched.
pub(super) fn request() -> impl Filter<Extract = (ApiRequest,), Error = Rejection> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .map(|method, path, query, headers, body| ApiRequest {
            method,
            path,
            query,
            headers,
            body: boxed(body),
        })
}

fn boxed(
    body: impl futures_core::Stream<Item = Result<impl Buf, warp::Error>> + Send + 'static,
) -> BodyStream {
    body.map_ok(|mut chunk| chunk.copy_to_bytes(chunk.remaining())).boxed()
}
