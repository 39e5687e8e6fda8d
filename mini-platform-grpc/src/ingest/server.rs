//! A dispatcher, served to submitters of many events.

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use mini_platform_core::Dispatcher;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use super::IngestRules;
use super::intake::{Intake, Unfinished};
use super::turns::Turns;
use crate::server::Admission;
use crate::status::shutting_down;
use crate::v1;
use crate::v1::ingest_service_server::{IngestService, IngestServiceServer};
use crate::v1::ingest_stream_response::Answer;

/// The most requests under way for one stream: one is stored while others are read, screened and answered.
const MAX_UNDER_WAY: usize = 4;

/// Serves a dispatcher. Streams end when `stopping` is cancelled.
pub(crate) fn service(
    dispatcher: Dispatcher,
    rules: IngestRules,
    stopping: CancellationToken,
    max_message: usize,
) -> IngestServiceServer<Ingest> {
    let ingest = Ingest { intake: Intake::new(dispatcher, rules), stopping };
    IngestServiceServer::new(ingest).max_decoding_message_size(max_message)
}

#[derive(Debug)]
pub(crate) struct Ingest {
    intake: Intake,
    stopping: CancellationToken,
}

type Answers = BoxStream<'static, Result<v1::IngestStreamResponse, Status>>;

#[async_trait]
impl IngestService for Ingest {
    async fn ingest(
        &self,
        request: Request<v1::IngestRequest>,
    ) -> Result<Response<v1::IngestResponse>, Status> {
        let response = self.intake.take_in(request.into_inner()).await;
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
        let admission = request.extensions().get::<Admission>().cloned();
        let requests = request.into_inner().take_until(self.stopping.clone().cancelled_owned());
        let intake = self.intake.clone();
        let mut turns = Turns::new(MAX_UNDER_WAY);
        let answers =
            requests.map(move |request| answer(intake.clone(), &mut turns, request)).buffered(MAX_UNDER_WAY);
        Ok(Response::new(until_deadline(answers.boxed(), admission)))
    }
}

/// Answers one request of a stream; fails only when the stream does.
fn answer(
    intake: Intake,
    turns: &mut Turns,
    request: Result<v1::IngestStreamRequest, Status>,
) -> impl Future<Output = Result<v1::IngestStreamResponse, Status>> + use<> {
    // On a task of its own: it goes on while the client does not read, and its time limit stays fair.
    let task = request.map(|request| {
        let request = request.request.unwrap_or_default();
        let turn = turns.next(&request);
        AbortOnDropHandle::new(tokio::spawn(async move {
            turn.wait().await;
            intake.take_in(request).await
        }))
    });
    async move {
        let answer = match task?.await {
            Ok(Ok(response)) => Answer::Response(response),
            Ok(Err(unfinished)) => Answer::Failure((&unfinished).into()),
            Err(_) => Answer::Failure((&Unfinished::broke_down()).into()),
        };
        Ok(v1::IngestStreamResponse { answer: Some(answer) })
    }
}

/// Ends a stream when its caller gives up, and counts it as under way until it ends.
fn until_deadline(answers: Answers, admission: Option<Admission>) -> Answers {
    let deadline = admission.as_ref().and_then(|admission| admission.deadline);
    let Some(deadline) = deadline else {
        return answers
            .map(move |answer| {
                let _under_way = &admission;
                answer
            })
            .boxed();
    };
    stream::unfold(Some((answers, admission)), move |state| next_until(deadline, state)).boxed()
}

type UntilDeadline = Option<(Answers, Option<Admission>)>;

async fn next_until(
    deadline: Instant,
    state: UntilDeadline,
) -> Option<(Result<v1::IngestStreamResponse, Status>, UntilDeadline)> {
    let (mut answers, admission) = state?;
    match tokio::time::timeout_at(deadline, answers.next()).await {
        Ok(answer) => answer.map(|answer| (answer, Some((answers, admission)))),
        Err(_) => Some((Err(Status::deadline_exceeded("the time of the call is up")), None)),
    }
}
