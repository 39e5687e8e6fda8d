//! The calls.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::activity::Activity;
use super::{BaseUrl, ClientError, EventResults, Problem};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is kept without a request: for less than a platform keeps it, so that no request meets its end.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest JSON answer that is taken: far above a page of 1000 events with the longest names.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// What of a refusal is read.
const MAX_PROBLEM_BYTES: usize = 64 * 1024;

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// The code of a problem that says that there is no such thing.
const NOT_FOUND: &str = "not_found";

type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// Encodes a name, whatever is in it, as one segment of a path or one value of a query.
#[must_use]
pub fn path_segment(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

/// Talks to one running platform.
#[derive(Debug, Clone)]
pub struct PlatformClient {
    base: BaseUrl,
    http: Client<HttpConnector, RequestBody>,
}

impl PlatformClient {
    /// Makes a client of the platform at `base`; connects with the first call.
    #[must_use]
    pub fn new(base: BaseUrl) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let mut http = Client::builder(TokioExecutor::new());
        http.pool_idle_timeout(IDLE_TIMEOUT);
        Self { base, http: http.build(connector) }
    }

    /// Returns where the platform is.
    #[must_use]
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Fetches the JSON answer of a route.
    ///
    /// # Errors
    /// Nobody answers, or the answer is a refusal or no JSON.
    pub async fn get(&self, path_and_query: &str) -> Result<serde_json::Value, ClientError> {
        let request = self.request(Method::GET, path_and_query)?.body(RequestBody::new(Empty::new()));
        let activity = Activity::default();
        let answer = self.call(request, &activity).await?;
        let body = activity.watch(read_all(answer, MAX_ANSWER_BYTES)).await??;
        serde_json::from_slice(&body).map_err(|error| ClientError::Protocol(format!("no JSON: {error}")))
    }

    /// Parks a dead letter again. Answers whether there was one of this id.
    ///
    /// # Errors
    /// Nobody answers, or the platform refuses.
    pub async fn redrive(&self, id: &str) -> Result<bool, ClientError> {
        self.decide(Method::POST, &format!("/v1/dead-letters/{}/redrive", path_segment(id))).await
    }

    /// Forgets a dead letter. Answers whether there was one of this id.
    ///
    /// # Errors
    /// Nobody answers, or the platform refuses.
    pub async fn discard(&self, id: &str) -> Result<bool, ClientError> {
        self.decide(Method::DELETE, &format!("/v1/dead-letters/{}", path_segment(id))).await
    }

    async fn decide(&self, method: Method, path: &str) -> Result<bool, ClientError> {
        let request = self.request(method, path)?.body(RequestBody::new(Empty::new()));
        let activity = Activity::default();
        let answer = match self.call(request, &activity).await {
            Err(ClientError::Problem(problem)) if problem.code.as_deref() == Some(NOT_FOUND) => {
                return Ok(false);
            }
            answer => answer?,
        };
        // Read to its end, so that the connection serves the next call.
        activity.watch(read_all(answer, MAX_ANSWER_BYTES)).await??;
        Ok(true)
    }

    /// Submits events, one JSON object per line, as the stream yields them.
    ///
    /// The stream's items are cut anywhere; together they must be whole lines. It is pulled only as fast as
    /// the platform reads. Results can arrive before the stream ends, so read them at the same time.
    ///
    /// # Errors
    /// Nobody answers, or the platform refuses the whole request.
    pub async fn post_events<S>(&self, lines: S) -> Result<EventResults, ClientError>
    where
        S: Stream<Item = Bytes> + Send + 'static,
    {
        let activity = Activity::default();
        let marks = activity.clone();
        let frames = lines.map(move |bytes| {
            marks.mark();
            Ok(Frame::data(bytes))
        });
        self.submit(RequestBody::new(StreamBody::new(frames)), activity).await
    }

    /// Submits one event, a JSON object, and returns its result as the platform wrote it.
    ///
    /// # Errors
    /// Nobody answers, or the platform refuses the whole request.
    pub async fn post_event(&self, event: &serde_json::Value) -> Result<serde_json::Value, ClientError> {
        let body = RequestBody::new(Full::new(Bytes::from(format!("{event}\n"))));
        let mut results = self.submit(body, Activity::default()).await?;
        while let Some(lines) = results.next_lines().await? {
            if let Some(line) = lines.first() {
                return serde_json::from_slice(line)
                    .map_err(|error| ClientError::Protocol(format!("no result: {error}")));
            }
        }
        Err(ClientError::Protocol("no result at all".to_owned()))
    }

    /// Submits one event, a JSON object, to the route of its kind; returns whatever is answered.
    ///
    /// # Errors
    /// Nobody answers, or not to the end.
    pub async fn post_one(&self, route: &str, event: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let request = self
            .request(Method::POST, route)?
            .header(header::CONTENT_TYPE, JSON)
            .body(RequestBody::new(Full::new(event)));
        let activity = Activity::default();
        let answer = self.exchange(request, &activity).await?;
        let status = answer.status();
        Ok((status, activity.watch(read_all(answer, MAX_PROBLEM_BYTES)).await??))
    }

    async fn submit(&self, body: RequestBody, activity: Activity) -> Result<EventResults, ClientError> {
        let request = self
            .request(Method::POST, "/v1/events?on_error=continue")?
            .header(header::CONTENT_TYPE, NDJSON)
            .header(header::ACCEPT, NDJSON)
            .body(body);
        let answer = self.call(request, &activity).await?;
        Ok(EventResults::new(answer.into_body(), activity))
    }

    fn request(&self, method: Method, path_and_query: &str) -> Result<http::request::Builder, ClientError> {
        Ok(Request::builder().method(method).uri(self.base.join(path_and_query)?))
    }

    async fn call(
        &self,
        request: Result<Request<RequestBody>, http::Error>,
        activity: &Activity,
    ) -> Result<Response<Incoming>, ClientError> {
        let answer = self.exchange(request, activity).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer, activity).await) }
    }

    async fn exchange(
        &self,
        request: Result<Request<RequestBody>, http::Error>,
        activity: &Activity,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = request.map_err(|source| ClientError::Request { source })?;
        activity.watch(self.http.request(request)).await?.map_err(|source| {
            if source.is_connect() {
                ClientError::Connect { base: self.base.to_string(), source }
            } else {
                ClientError::Unanswered { source }
            }
        })
    }
}

async fn refusal(answer: Response<Incoming>, activity: &Activity) -> ClientError {
    let status: StatusCode = answer.status();
    let body = match activity.watch(read_all(answer, MAX_PROBLEM_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) | Err(_) => Bytes::new(),
    };
    ClientError::Problem(Problem::read(status, &body))
}

async fn read_all(answer: Response<Incoming>, limit: usize) -> Result<Bytes, ClientError> {
    match Limited::new(answer.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(source) => ClientError::Broken { source: *source },
            Err(_) => ClientError::Protocol(format!("longer than {limit} bytes")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_path_segment() {
        assert_eq!(path_segment("A576"), "A576");
        assert_eq!(path_segment("Václav Novák"), "V%C3%A1clav%20Nov%C3%A1k");
        assert_eq!(path_segment("a/b?c#d%e\"f"), "a%2Fb%3Fc%23d%25e%22f");
    }
}
