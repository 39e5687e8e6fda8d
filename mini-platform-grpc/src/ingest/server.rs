//! A dispatcher, served to submitters of many events.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use mini_platform_core::Dispatcher;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use super::IngestRules;
use super::intake::{Intake, Unfinished};
use super::turns::Turns;
use crate::convert::submissions_of;
use crate::server::ServerSettings;
use crate::status::{convert_error_to_status, idle, shutting_down};
use crate::v1;
use crate::v1::ingest_service_server::{IngestService, IngestServiceServer};
use crate::v1::ingest_stream_response::Answer;

/// The most requests under way for one stream: one is stored while others are read, screened and answered.
const MAX_UNDER_WAY: usize = 4;

/// Serves a dispatcher. Streams end when `stopping` is cancelled.
pub(crate) fn service(
    dispatcher: Dispatcher,
    rules: IngestRules,
    settings: &ServerSettings,
    stopping: CancellationToken,
) -> IngestServiceServer<Ingest> {
    let intake = Intake::new(dispatcher, rules);
    let ingest = Ingest { intake, stopping, idle_timeout: settings.idle_timeout };
    IngestServiceServer::new(ingest).max_decoding_message_size(settings.max_message)
}

#[derive(Debug)]
pub(crate) struct Ingest {
    intake: Intake,
    stopping: CancellationToken,
    idle_timeout: Duration,
}

type Requests = BoxStream<'static, Result<v1::IngestStreamRequest, Status>>;
type Answers = BoxStream<'static, Result<v1::IngestStreamResponse, Status>>;

#[async_trait]
impl IngestService for Ingest {
    async fn ingest(
        &self,
        request: Request<v1::IngestRequest>,
    ) -> Result<Response<v1::IngestResponse>, Status> {
        let intake = self.intake.of_call(request.metadata());
        let submissions =
            submissions_of(request.into_inner()).map_err(|error| convert_error_to_status(&error))?;
        let response = intake.take_in(submissions).await;
        response.map(Response::new).map_err(|unfinished| (&unfinished).into())
    }

    type IngestStreamStream = Answers;

    async fn ingest_stream(
        &self,
        request: Request<Streaming<v1::IngestStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        if self.stopping.is_cancelled() {
            return Err(shutting_down());
        }
        let intake = self.intake.of_call(request.metadata());
        let requests = request.into_inner().take_until(self.stopping.clone().cancelled_owned());
        let under_way = TaskTracker::new();
        // Closed only to be waited for.
        under_way.close();
        let requests = until_idle(requests.boxed(), under_way.clone(), self.idle_timeout);
        let mut turns = Turns::new(MAX_UNDER_WAY);
        let answers = requests
            .map(move |request| answer(intake.clone(), &under_way, &mut turns, request))
            .buffered(MAX_UNDER_WAY);
        Ok(Response::new(answers.boxed()))
    }
}

/// Hands on the requests of a stream, until it is silent for too long while nothing is under way.
fn until_idle(requests: Requests, under_way: TaskTracker, limit: Duration) -> Requests {
    stream::unfold(Some(requests), move |requests| {
        let under_way = under_way.clone();
        async move {
            let mut requests = requests?;
            let silence = async {
                under_way.wait().await;
                tokio::time::sleep(limit).await;
            };
            tokio::select! {
                biased;
                request = requests.next() => request.map(|request| (request, Some(requests))),
                () = silence => Some((Err(idle()), None)),
            }
        }
    })
    .boxed()
}

/// Answers one request of a stream; fails only when the stream does.
fn answer(
    intake: Intake,
    under_way: &TaskTracker,
    turns: &mut Turns,
    request: Result<v1::IngestStreamRequest, Status>,
) -> impl Future<Output = Result<v1::IngestStreamResponse, Status>> + use<> {
    let task = request.map(|request| {
        // What is no request in number waits for nothing: it would take up room until its turn.
        let submissions = submissions_of(request.request.unwrap_or_default()).map_err(Unfinished::Invalid)?;
        let turn = turns.next(&submissions);
        // On a task of its own: it goes on while the client does not read, and its time limit stays fair.
        Ok(AbortOnDropHandle::new(under_way.spawn(async move {
            turn.wait().await;
            intake.take_in(submissions).await
        })))
    });
    async move {
        let response = match task? {
            Ok(task) => task.await.unwrap_or(Err(Unfinished::Panicked)),
            Err(unfinished) => Err(unfinished),
        };
        let answer = match response {
            Ok(response) => Answer::Response(response),
            Err(unfinished) => Answer::Failure((&unfinished).into()),
        };
        Ok(v1::IngestStreamResponse { answer: Some(answer) })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use mini_platform_core::testkit::transfer;

    use super::*;
    use crate::ingest::tests::intake;

    #[tokio::test]
    async fn a_request_with_too_many_events_does_not_wait_for_its_turn() {
        let event = v1::Submission::from(&transfer("same", "ann", "bob", 1));
        let mut turns = Turns::new(MAX_UNDER_WAY);
        let _earlier = turns.next(std::slice::from_ref(&event));
        for (count, refused) in [(0, true), (1025, true), (1024, false)] {
            let request = v1::IngestRequest { events: vec![event.clone(); count] };
            let request = Ok(v1::IngestStreamRequest { request: Some(request) });
            let under_way = TaskTracker::new();
            let answer = answer(intake([]), &under_way, &mut turns, request);
            assert_eq!(under_way.is_empty(), refused, "{count}");
            let answer = answer.now_or_never().and_then(|answer| answer.unwrap().answer);
            let failure = answer.map(|answer| match answer {
                Answer::Failure(failure) => failure.reason,
                Answer::Response(response) => panic!("{response:?}"),
            });
            assert_eq!(failure.as_deref(), refused.then_some("INVALID_MESSAGE"), "{count}");
        }
    }
}
