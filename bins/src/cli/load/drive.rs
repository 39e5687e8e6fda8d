//! Sends planned events at a steady pace, whatever the platform does.
//!
//! The loop is open: an event is due when it is due, not when the one before was answered, and its latency counts from
//! then. An event without an acknowledgement is sent again, under the same id, until it has one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::StatusCode;
use mini_platform_core::port::{Clock, SystemClock};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Mutex as TurnMutex, MutexGuard, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::event::LoadEvent;
use super::ledger::{Answer, Entry, Ledger};
use super::plan::{Plan, Planned, due_after};
use super::tally::LoadTally;
use crate::client::{ClientError, EventResult, PlatformClient, Problem, ResultOutcome};

/// How long before its time an event is made, so that the ledger has it by then.
const LEAD: Duration = Duration::from_millis(100);

/// An event that leaves this much after its time is late.
const LATE_AFTER: Duration = Duration::from_millis(100);

/// An event that cannot leave for so long is not sent any more. Longer than a platform takes to park what it cannot finish.
const NOT_SENT_AFTER: Duration = Duration::from_secs(2);

/// Events that are open at once, those that wait to be sent again included; more are not sent. A second of them at
/// any rate that one machine can send, and some 100 MB.
const MAX_OPEN: usize = 50_000;

/// The first pause before an event is sent again, and the longest; they double in between.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often is told how far the load is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How a load is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Events a second.
    pub(super) rate: u32,
    pub(super) duration: Duration,
    /// Requests that are under way at once.
    pub(super) connections: usize,
    /// How long an attempt may take.
    pub(super) timeout: Duration,
    /// How long after its time an event is sent again.
    pub(super) give_up_after: Duration,
    pub(super) seed: u64,
}

/// What all events share.
#[derive(Debug)]
struct Driver {
    /// The platforms that take events, up to 255.
    platforms: Vec<PlatformClient>,
    pace: Pace,
    ledger: Option<Ledger>,
    connections: Semaphore,
    /// One per client, when each may have only one event under way.
    turns: Vec<TurnMutex<()>>,
    tally: Mutex<LoadTally>,
    stop: CancellationToken,
}

/// An event on its way.
struct Underway {
    number: u64,
    id: String,
    /// Which platform is asked first.
    first_to: usize,
    route: &'static str,
    body: Bytes,
    due: Instant,
}

/// Sends events until the time is over or `stop` says so, and waits until each has its answer.
///
/// # Errors
/// The ledger cannot be written: nothing is sent that it does not have.
pub(super) async fn drive(
    platforms: Vec<PlatformClient>,
    pace: Pace,
    mut plan: Plan,
    clients_in_order: usize,
    ledger: Option<Ledger>,
    stop: CancellationToken,
) -> anyhow::Result<LoadTally> {
    let turns = std::iter::repeat_with(TurnMutex::default).take(clients_in_order).collect();
    let connections = Semaphore::new(pace.connections);
    let driver =
        Arc::new(Driver { platforms, pace, ledger, connections, turns, tally: Mutex::default(), stop });
    let mut open = JoinSet::new();
    let (start, mut told) = (Instant::now() + LEAD, Instant::now());
    for number in 0.. {
        let after = due_after(number, pace.rate);
        let is_stopped = timeout_at(start + after - LEAD, driver.stop.cancelled()).await.is_ok();
        if is_stopped || after >= pace.duration {
            break;
        }
        let planned = plan.next(number, SystemClock.now());
        driver.with_tally(|tally| tally.due += 1);
        while let Some(ended) = open.try_join_next() {
            ended.context("an event's task broke")??;
        }
        if open.len() < MAX_OPEN {
            open.spawn(submit(Arc::clone(&driver), number, planned, start + after));
        } else {
            driver.with_tally(|tally| tally.add(Answer::NotSent, Duration::ZERO));
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            driver.with_tally(|tally| tell(tally));
        }
    }
    while let Some(ended) = open.join_next().await {
        ended.context("an event's task broke")??;
    }
    Ok(driver.with_tally(|tally| tally.clone()))
}

fn tell(tally: &LoadTally) {
    eprintln!(
        "{} events due, {} acknowledged, {} not sent; {} attempts unavailable, {} unanswered",
        tally.due,
        tally.acknowledged(),
        tally.count(Answer::NotSent),
        tally.count(Answer::Unavailable),
        tally.count(Answer::Unanswered),
    );
}

/// Sends one event until it is acknowledged or given up.
async fn submit(driver: Arc<Driver>, number: u64, planned: Planned, due: Instant) -> anyhow::Result<()> {
    let Planned { event, listed, owner } = planned;
    let (id, route, body) = (event.id.clone(), event.route(), serde_json::to_vec(&event)?.into());
    let underway = Underway { number, id, first_to: owner.unwrap_or_default(), route, body, due };
    let Some(_turn) = driver.turn(owner, due).await else { return driver.not_sent(&underway).await };
    driver.note_send(&underway, 1, Some(event), listed).await?;
    sleep_until(due).await;
    let Ok(Ok(connection)) = timeout_at(due + NOT_SENT_AFTER, driver.connections.acquire()).await else {
        return driver.not_sent(&underway).await;
    };
    if due.elapsed() > LATE_AFTER {
        driver.with_tally(|tally| tally.late += 1);
    }
    driver.send_until_acknowledged(&underway, connection).await
}

impl Driver {
    fn with_tally<T>(&self, act: impl FnOnce(&mut LoadTally) -> T) -> T {
        act(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn note(&self, entry: &Entry) -> anyhow::Result<()> {
        match &self.ledger {
            Some(ledger) => ledger.note(entry).await,
            None => Ok(()),
        }
    }

    /// Waits for the client's turn; `None` when it does not come in time.
    async fn turn(&self, owner: Option<usize>, due: Instant) -> Option<Option<MutexGuard<'_, ()>>> {
        let Some(turn) = owner.and_then(|owner| self.turns.get(owner)) else { return Some(None) };
        timeout_at(due + NOT_SENT_AFTER, turn.lock()).await.ok().map(Some)
    }

    async fn not_sent(&self, event: &Underway) -> anyhow::Result<()> {
        self.answered(event, 1, Answer::NotSent, event.due.elapsed(), None).await
    }

    async fn send_until_acknowledged(
        &self,
        event: &Underway,
        connection: SemaphorePermit<'_>,
    ) -> anyhow::Result<()> {
        let (mut connection, mut since) = (connection, event.due);
        let mut rng = SmallRng::seed_from_u64(self.pace.seed ^ event.number);
        for attempt in 1.. {
            let (answer, reason) = self.attempt(event, attempt).await;
            drop(connection);
            self.answered(event, attempt, answer, since.elapsed(), reason).await?;
            if !answer.is_worth_another_try() {
                break;
            }
            sleep(pause(attempt, &mut rng)).await;
            let has_time = event.due.elapsed() < self.pace.give_up_after && !self.stop.is_cancelled();
            let Some(next) = (if has_time { self.connections.acquire().await.ok() } else { None }) else {
                self.with_tally(|tally| tally.given_up += 1);
                break;
            };
            connection = next;
            self.note_send(event, attempt + 1, None, false).await?;
            since = Instant::now();
        }
        Ok(())
    }

    /// Returns which platform an attempt goes to: each goes to the next one.
    fn platform(&self, event: &Underway, attempt: u32) -> usize {
        let turn = event.first_to.wrapping_add(attempt as usize - 1);
        turn.checked_rem(self.platforms.len()).unwrap_or_default()
    }

    async fn note_send(
        &self,
        event: &Underway,
        attempt: u32,
        first: Option<LoadEvent>,
        listed: bool,
    ) -> anyhow::Result<()> {
        let to = u8::try_from(self.platform(event, attempt))?;
        self.note(&Entry::Send { id: event.id.clone(), attempt, to, event: first.map(Box::new), listed })
            .await
    }

    async fn attempt(&self, event: &Underway, attempt: u32) -> (Answer, Option<String>) {
        let Some(platform) = self.platforms.get(self.platform(event, attempt)) else {
            return (Answer::Failed, Some("there is no platform to ask".to_owned()));
        };
        match timeout(self.pace.timeout, platform.post_one(event.route, event.body.clone())).await {
            Ok(Ok((status, body))) => judge(&event.id, status, &body),
            Ok(Err(error)) => judge_failure(&error),
            Err(_) => (Answer::Unanswered, Some("no answer in time".to_owned())),
        }
    }

    async fn answered(
        &self,
        event: &Underway,
        attempt: u32,
        answer: Answer,
        latency: Duration,
        reason: Option<String>,
    ) -> anyhow::Result<()> {
        let ms = (latency.as_secs_f64() * 1e6).round() / 1e3;
        self.note(&Entry::Answer { id: event.id.clone(), attempt, answer, ms, reason: reason.clone() })
            .await?;
        self.with_tally(|tally| {
            tally.add(answer, latency);
            if matches!(answer, Answer::Failed | Answer::Conflict) {
                tally.add_failure(&event.id, reason.as_deref().unwrap_or(answer.as_str()));
            }
        });
        Ok(())
    }
}

/// Returns how long to wait before an event is sent again: at random, so that those that failed together do not come
/// back together.
fn pause(attempt: u32, rng: &mut SmallRng) -> Duration {
    let doublings = 2_u32.saturating_pow(attempt.saturating_sub(1));
    FIRST_PAUSE.saturating_mul(doublings).min(LONGEST_PAUSE).mul_f64(rng.random_range(0.5..=1.0))
}

/// Says what an answer means. One whose status and body do not belong together is a failure.
fn judge(id: &str, status: StatusCode, body: &[u8]) -> (Answer, Option<String>) {
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return (Answer::Unavailable, Problem::read(status, body).code);
    }
    let result: Option<EventResult> = serde_json::from_slice(body).ok();
    let answer = result.filter(|result| result.id.as_deref() == Some(id)).map(|result| result.outcome);
    match (status.as_u16(), answer) {
        (201, Some(ResultOutcome::Stored)) => (Answer::Stored, None),
        (200, Some(ResultOutcome::Duplicate)) => (Answer::Duplicate, None),
        (202, Some(ResultOutcome::Parked)) => (Answer::Parked, None),
        (403, Some(ResultOutcome::Fraudulent)) => (Answer::Fraudulent, None),
        (409, Some(ResultOutcome::Conflict)) => (Answer::Conflict, None),
        _ => (Answer::Failed, Some(Problem::read(status, body).to_string())),
    }
}

fn judge_failure(error: &ClientError) -> (Answer, Option<String>) {
    let answer = match error {
        ClientError::Connect { .. }
        | ClientError::Unanswered { .. }
        | ClientError::Broken { .. }
        | ClientError::Stalled { .. } => Answer::Unanswered,
        ClientError::Url { .. }
        | ClientError::Request { .. }
        | ClientError::Problem(_)
        | ClientError::Protocol(_) => Answer::Failed,
    };
    (answer, Some(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(outcome: &str) -> Vec<u8> {
        format!(r#"{{"id":"e1","outcome":"{outcome}"}}"#).into_bytes()
    }

    #[test]
    fn an_answer_counts_only_when_its_status_its_outcome_and_its_id_belong_together() {
        let right = [
            (201, "stored", Answer::Stored),
            (200, "duplicate", Answer::Duplicate),
            (202, "parked", Answer::Parked),
            (403, "fraudulent", Answer::Fraudulent),
            (409, "conflict", Answer::Conflict),
        ];
        for (status, outcome, answer) in right {
            let code = StatusCode::from_u16(status).unwrap();
            assert_eq!(judge("e1", code, &result(outcome)), (answer, None));
            assert_eq!(judge("e2", code, &result(outcome)).0, Answer::Failed, "another event's answer");
            assert_eq!(judge("e1", code, b"<html>").0, Answer::Failed, "another server's answer");
            for (_, other, _) in right.iter().filter(|(_, other, _)| *other != outcome) {
                assert_eq!(judge("e1", code, &result(other)).0, Answer::Failed, "{status} {other}");
            }
        }
        assert_eq!(judge("e1", StatusCode::INTERNAL_SERVER_ERROR, b"").0, Answer::Failed);
    }

    #[test]
    fn a_503_promises_nothing_and_says_why() {
        let body = br#"{"code":"overloaded","status":503}"#;
        let judged = judge("e1", StatusCode::SERVICE_UNAVAILABLE, body);
        assert_eq!(judged, (Answer::Unavailable, Some("overloaded".to_owned())));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_never_none() {
        let mut rng = SmallRng::seed_from_u64(1);
        for (attempt, longest) in [(1, 250), (2, 500), (3, 1_000), (4, 2_000), (5, 2_000), (400, 2_000)] {
            let longest = Duration::from_millis(longest);
            for _ in 0..100 {
                let pause = pause(attempt, &mut rng);
                assert!((longest / 2..=longest).contains(&pause), "{pause:?} before attempt {attempt}");
            }
        }
    }
}
