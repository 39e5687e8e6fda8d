//! A dispatcher elsewhere, for submitters of many events.

use std::panic::AssertUnwindSafe;

use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use mini_platform_core::deadline;
use mini_platform_core::domain::NodeAddress;
use mini_platform_core::error::{Fault, FaultKind};
use tonic::Request;
use tonic::transport::Channel;

use crate::channel::{ChannelSettings, call, channel, unreadable};
use crate::status::status_to_fault;
use crate::v1;
use crate::v1::ingest_service_client::IngestServiceClient;

const DISPATCHER: &str = "dispatcher";
const INGEST: &str = "take events in";

/// A dispatcher elsewhere, reached over gRPC. A clone shares the connection.
#[derive(Debug, Clone)]
pub struct IngestClient {
    client: IngestServiceClient<Channel>,
}

impl IngestClient {
    /// Makes the way to the dispatcher at an address. Call it inside of a tokio runtime. Nothing is connected
    /// before the first request; a connection that broke is made anew by the next one.
    #[must_use]
    pub fn new(address: &NodeAddress, settings: &ChannelSettings) -> Self {
        let client = IngestServiceClient::new(channel(address, settings))
            .max_decoding_message_size(settings.max_message);
        Self { client }
    }

    /// Submits 1 to 1024 events. Answers one result for each, in order.
    ///
    /// # Errors
    /// Nothing is promised; the same events, with the same ids, may be sent again if [`Fault::retry`] says so.
    pub async fn ingest(&self, events: Vec<v1::Submission>) -> Result<Vec<v1::SubmissionResult>, Fault> {
        let mut client = self.client.clone();
        let count = events.len();
        let response =
            call(v1::IngestRequest { events }, |request| async move { client.ingest(request).await })
                .await
                .map_err(|status| status_to_fault(&status, DISPATCHER, INGEST))?;
        if response.results.len() != count {
            return Err(Fault::new(DISPATCHER, INGEST, FaultKind::Corrupt));
        }
        Ok(response.results)
    }

    /// Submits many events, 1 to 1024 at a time. Answers each time in order: results, or why there are none.
    ///
    /// Read the answers while sending: a dispatcher whose answers are not read does not read on.
    ///
    /// # Errors
    /// The stream could not be begun; in the stream: it broke off, and what was not answered may be sent again.
    pub async fn stream(
        &self,
        requests: impl Stream<Item = Vec<v1::Submission>> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<v1::IngestStreamResponse, Fault>>, Fault> {
        let mut client = self.client.clone();
        let mut request = Request::new(
            requests.map(|events| v1::IngestStreamRequest { request: Some(v1::IngestRequest { events }) }),
        );
        if let Some(left) = deadline::remaining() {
            request.set_timeout(left);
        }
        let fault = |status| status_to_fault(&status, DISPATCHER, INGEST);
        let begun = AssertUnwindSafe(client.ingest_stream(request)).catch_unwind().await;
        let answers = begun.unwrap_or_else(|_| Err(unreadable())).map_err(fault)?.into_inner();
        let answers = AssertUnwindSafe(answers).catch_unwind();
        Ok(answers.map(move |answer| answer.unwrap_or_else(|_| Err(unreadable())).map_err(fault)).boxed())
    }
}
