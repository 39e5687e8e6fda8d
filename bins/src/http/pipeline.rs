//! Many events of one request: gathered into batches, a few batches under way, results in the order of the input.
//!
//! Memory is constant: what is read waits for what is answered, and an answer waits for the client to read it. A
//! client that sends a long stream must therefore read while it sends.
//!
//! Nothing waits for more input than there is: when the client pauses, what is gathered leaves.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use mini_platform_core::dispatcher::Ingested;
use mini_platform_core::domain::{
    Event, EventBatch, EventBatchBuilder, EventId, IngestOutcome, TraceContext,
};
use mini_platform_core::error::DispatchError;
use tokio::task::JoinHandle;

use super::event_json::{EventRules, RejectedEvent, parse_event};
use super::ingest::traced;
use super::problem::{Code, Problem, Rejection};
use super::query::Parameters;
use super::render::{self, ResultWriter};
use super::request::ApiRequest;
use super::state::State;

/// The most events of one batch: where the measured gain of larger batches ends.
const MAX_GATHERED: usize = 512;

/// The most batches under way for one request: one is stored while others are parsed, screened and answered.
const MAX_UNDER_WAY: usize = 4;

/// Bytes that the result of one event seldom exceeds.
const RESULT_BYTES: usize = 256;

/// What to do after an event that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnError {
    Continue,
    Abort,
}

/// How the events of a request are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    on_error: OnError,
    trace: Option<TraceContext>,
}

impl Manner {
    /// Reads the parameters of a request for many events.
    pub(super) fn of(request: &ApiRequest) -> Result<Self, Problem> {
        if request.headers.contains_key(super::ingest::IDEMPOTENCY_KEY) {
            let detail =
                "The Idempotency-Key header is for single events; send an `id` in each event instead.";
            return Err(Problem::new(Code::InvalidParameter, detail));
        }
        let choices = [("continue", OnError::Continue), ("abort", OnError::Abort)];
        let parameters = Parameters::parse(&request.query, &["on_error"])?;
        let on_error = parameters.choice("on_error", &choices, OnError::Continue)?;
        Ok(Self { on_error, trace: super::ingest::trace_of(&request.headers) })
    }
}

/// One item of the input, which is to become one result.
#[derive(Debug)]
pub(super) enum Item<'a> {
    Text(&'a [u8]),
    /// It is wrong before it is parsed.
    Rejected(Rejection),
}

/// Where items come from.
pub(super) trait Source: Send + 'static {
    /// Hands over the next item, or `None` after the last one.
    fn poll_item<T>(&mut self, cx: &mut Context<'_>, take: impl FnOnce(Item<'_>) -> T) -> Poll<Option<T>>;

    /// Says that nobody waits for the next item, so that the time until then is not the client's fault.
    fn rest(&mut self) {}
}

/// How results are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// One a line.
    Lines,
    /// A JSON array.
    Array,
}

/// What is known of the result of an item.
#[derive(Debug)]
enum Slot {
    /// The next outcome of the batch.
    Event,
    Rejected(Box<RejectedEvent>),
    Skipped,
}

/// Items that are answered together.
#[derive(Debug)]
struct Chunk {
    slots: Vec<Slot>,
    batch: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    batch: EventBatch,
    outcomes: JoinHandle<Result<Ingested<Vec<IngestOutcome>>, DispatchError>>,
}

/// Items that will be the next chunk.
#[derive(Debug, Default)]
struct Gathering {
    slots: Vec<Slot>,
    batch: EventBatchBuilder,
}

/// What gathering came to.
enum Gathered {
    /// The chunk is to leave.
    Leave,
    /// The input paused.
    Paused,
    /// The next item waits for what is under way.
    Blocked,
    /// The input ended.
    Ended,
}

/// A stream of results.
pub(super) struct Pipeline<S> {
    source: S,
    state: Arc<State>,
    manner: Manner,
    framing: Framing,
    results: ResultWriter,
    gathering: Gathering,
    /// An event whose id is under way: it waits, so that it finds what became of the one before it.
    held_back: Option<Event>,
    under_way: VecDeque<Chunk>,
    /// The ids of the events that are gathered or under way.
    ids: HashSet<EventId>,
    items: usize,
    answered: usize,
    aborted: bool,
    ended: bool,
    closed: bool,
    /// Whether the pause of the input was looked at twice.
    yielded: bool,
}

impl<S: Source> Pipeline<S> {
    pub(super) fn new(source: S, state: Arc<State>, manner: Manner, framing: Framing) -> Self {
        Self {
            source,
            state,
            manner,
            framing,
            results: ResultWriter::default(),
            gathering: Gathering::default(),
            held_back: None,
            under_way: VecDeque::with_capacity(MAX_UNDER_WAY),
            ids: HashSet::new(),
            items: 0,
            answered: 0,
            aborted: false,
            ended: false,
            closed: false,
            yielded: false,
        }
    }

    fn poll_results(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Poll::Ready(Some(results)) = self.poll_front(cx) {
                self.source.rest();
                return Poll::Ready(Some(results));
            }
            if self.under_way.len() == MAX_UNDER_WAY {
                self.source.rest();
                return Poll::Pending;
            }
            if self.ended && self.held_back.is_none() {
                return if self.under_way.is_empty() { Poll::Ready(self.close()) } else { Poll::Pending };
            }
            match self.gather(cx) {
                Gathered::Leave => self.leave(),
                Gathered::Ended => {
                    self.ended = true;
                    self.leave();
                }
                Gathered::Blocked => {
                    self.source.rest();
                    return Poll::Pending;
                }
                Gathered::Paused if self.gathering.slots.is_empty() => return Poll::Pending,
                Gathered::Paused if self.yielded => self.leave(),
                // What the client has already sent may only wait to be read: look once more before a small batch
                // leaves.
                Gathered::Paused => {
                    self.yielded = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Gathers items until there are enough, the input pauses, or an id repeats.
    fn gather(&mut self, cx: &mut Context<'_>) -> Gathered {
        if let Some(event) = self.held_back.take() {
            if !self.under_way.is_empty() {
                self.held_back = Some(event);
                return Gathered::Blocked;
            }
            self.push(event);
        }
        while self.gathering.slots.len() < MAX_GATHERED {
            match self.poll_slot(cx) {
                Poll::Ready(Some(())) => self.yielded = false,
                Poll::Ready(None) => return Gathered::Ended,
                Poll::Pending => return Gathered::Paused,
            }
            if self.held_back.is_some() {
                return Gathered::Leave;
            }
        }
        Gathered::Leave
    }

    fn poll_slot(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Self { source, state, aborted, .. } = self;
        let parsed =
            ready!(source.poll_item(cx, |item| if *aborted { None } else { Some(parse(state, item)) }));
        let Some(parsed) = parsed else { return Poll::Ready(None) };
        let index = self.items;
        self.items += 1;
        match parsed {
            None => self.gathering.slots.push(Slot::Skipped),
            Some(Ok(event)) => self.push(event),
            Some(Err(rejected)) => self.reject(rejected, index),
        }
        Poll::Ready(Some(()))
    }

    fn push(&mut self, event: Event) {
        if !self.ids.insert(event.id().clone()) {
            self.held_back = Some(event);
            return;
        }
        match self.gathering.batch.push(event) {
            Ok(()) => self.gathering.slots.push(Slot::Event),
            Err(event) => {
                self.ids.remove(event.id());
                self.held_back = Some(event);
            }
        }
    }

    fn reject(&mut self, mut rejected: Box<RejectedEvent>, index: usize) {
        if self.framing == Framing::Array {
            let inner = rejected.rejection.pointer.take().unwrap_or_default();
            rejected.rejection.pointer = Some(format!("/{index}{inner}"));
        }
        self.aborted |= self.manner.on_error == OnError::Abort;
        self.gathering.slots.push(Slot::Rejected(rejected));
    }

    /// Sends what is gathered on its way.
    fn leave(&mut self) {
        self.yielded = false;
        let Gathering { slots, batch } = std::mem::take(&mut self.gathering);
        if slots.is_empty() {
            return;
        }
        let batch = batch.build().map(|batch| {
            let (dispatcher, events, trace) =
                (self.state.dispatcher.clone(), batch.clone(), self.manner.trace);
            // On a task of its own: it goes on while this client does not read, and its time limit stays fair.
            let outcomes =
                self.state.tasks.spawn(async move { traced(trace, dispatcher.ingest(&events)).await });
            UnderWay { batch, outcomes }
        });
        self.under_way.push_back(Chunk { slots, batch });
    }

    /// Answers the oldest chunk, once it is finished.
    fn poll_front(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(front) = self.under_way.front_mut() else { return Poll::Ready(None) };
        let outcomes = match &mut front.batch {
            None => Ok(Ingested::Finished(Vec::new())),
            Some(under_way) => match ready!(Pin::new(&mut under_way.outcomes).poll(cx)) {
                Ok(Ok(outcomes)) => Ok(outcomes),
                Ok(Err(error)) => Err(self.state.failed(&error)),
                Err(_) => Err(Problem::new(
                    Code::Internal,
                    "The batch broke down here; resend it with the same ids.",
                )),
            },
        };
        Poll::Ready(self.under_way.pop_front().map(|chunk| self.render(&chunk, &outcomes)))
    }

    fn render(&mut self, chunk: &Chunk, outcomes: &Result<Ingested<Vec<IngestOutcome>>, Problem>) -> Bytes {
        let mut out = Vec::with_capacity(chunk.slots.len() * RESULT_BYTES);
        let events = chunk.batch.as_ref().map_or(&[][..], |under_way| under_way.batch.events());
        let mut ids = events.iter().map(Event::id);
        let mut finished = match outcomes {
            Ok(Ingested::Finished(outcomes)) => outcomes.iter(),
            _ => [].iter(),
        };
        for slot in &chunk.slots {
            self.start_result(&mut out);
            match slot {
                Slot::Skipped => render::write_skipped(&mut out),
                Slot::Rejected(rejected) => render::write_rejected(&mut out, rejected),
                Slot::Event => {
                    let Some(id) = ids.next() else { continue };
                    self.ids.remove(id);
                    match outcomes {
                        Ok(Ingested::Finished(_)) => {
                            let Some(outcome) = finished.next() else { continue };
                            self.results.outcome(&mut out, id, outcome);
                        }
                        Ok(Ingested::Parked) => render::write_parked(&mut out, id),
                        Err(problem) => render::write_unavailable(&mut out, id, problem),
                    }
                }
            }
            if self.framing == Framing::Lines {
                out.push(b'\n');
            }
        }
        out.into()
    }

    fn start_result(&mut self, out: &mut Vec<u8>) {
        if self.framing == Framing::Array {
            out.push(if self.answered == 0 { b'[' } else { b',' });
        }
        self.answered += 1;
    }

    /// Ends the results.
    fn close(&mut self) -> Option<Bytes> {
        let already_closed = std::mem::replace(&mut self.closed, true);
        match self.framing {
            Framing::Array if already_closed => None,
            Framing::Array if self.answered == 0 => Some(Bytes::from_static(b"[]")),
            Framing::Array => Some(Bytes::from_static(b"]")),
            Framing::Lines => None,
        }
    }
}

fn parse(state: &State, item: Item<'_>) -> Result<Event, Box<RejectedEvent>> {
    let rules = EventRules {
        kind: None,
        key: None,
        default_currency: state.settings.default_currency,
        clock: &*state.clock,
    };
    match item {
        Item::Text(text) => parse_event(text, &rules),
        Item::Rejected(rejection) => Err(Box::new(RejectedEvent { id: None, rejection })),
    }
}

/// A pipeline as the body of an answer. The lock is never taken: it only makes the stream `Sync`, as warp demands.
pub(super) struct Results<S>(Mutex<Pipeline<S>>);

impl<S: Source> Results<S> {
    pub(super) fn new(pipeline: Pipeline<S>) -> Self {
        Self(Mutex::new(pipeline))
    }
}

// Nothing in a pipeline is pinned in place.
impl<S> Unpin for Results<S> {}

impl<S: Source> Stream for Results<S> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let pipeline = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        pipeline.poll_results(cx).map(|results| results.map(Ok))
    }
}
