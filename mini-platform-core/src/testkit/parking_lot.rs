//! What every [`ParkingLot`] must do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Fixture, ManualClock, at, client};
use crate::domain::{
    DeadLetter, DeathCause, LeaseRequest, LeasedParcel, LotLimits, MAX_PARCEL_BYTES, PageSize, Parcel,
    ParcelContent, ParcelId, ParcelQuery, ParkReason, ParkedParcel, Settled, Settlement,
};
use crate::error::LotError;
use crate::port::ParkingLot;

/// The limits of the lots under test: small enough to be filled, and the bytes do not fit three of the longest
/// contents.
pub const LIMITS: LotLimits = LotLimits { parcels: 100, bytes: 40_000 };

/// What does not end while a case runs.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// What ends while a case waits for it.
const SHORT: Duration = Duration::from_millis(30);

/// What sets two times apart, for clocks of milliseconds, too.
pub(super) const TICK: Duration = Duration::from_millis(2);

/// How long a case waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A parking lot with [`LIMITS`], and the way in which its time passes.
pub struct ParkingLotStage {
    /// The lot under test.
    pub lot: Arc<dyn ParkingLot>,
    clock: Option<Arc<ManualClock>>,
}

impl std::fmt::Debug for ParkingLotStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParkingLotStage").finish_non_exhaustive()
    }
}

impl ParkingLotStage {
    /// Takes a lot that reads a clock which a case moves.
    #[must_use]
    pub fn new(lot: Arc<dyn ParkingLot>, clock: Arc<ManualClock>) -> Self {
        Self { lot, clock: Some(clock) }
    }

    /// Takes a lot with a clock of its own, such as that of a server: cases wait in real time.
    #[must_use]
    pub fn with_own_clock(lot: Arc<dyn ParkingLot>) -> Self {
        Self { lot, clock: None }
    }

    /// Lets at least so much time pass.
    pub async fn pass_time(&self, duration: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(duration),
            None => sleep(duration).await,
        }
    }

    async fn park(&self, parcels: &[Parcel]) {
        self.lot.park(parcels).await.unwrap();
    }

    /// Parks a parcel a number, in the lane of one client, in one call.
    async fn park_in(&self, name: &str, numbers: impl IntoIterator<Item = u32>) {
        let parcels: Vec<Parcel> = numbers.into_iter().map(|number| parcel(number, name)).collect();
        self.park(&parcels).await;
    }

    async fn lease(&self, max: usize) -> Vec<LeasedParcel> {
        self.lot.lease(LeaseRequest::new(max, LONG)).await.unwrap()
    }

    /// Leases what there is, and says which it is.
    async fn leased(&self) -> Vec<u32> {
        numbers(&self.lease(100).await)
    }

    /// Leases one parcel that is there.
    async fn lease_one(&self) -> LeasedParcel {
        self.lease(1).await.pop().expect("a parcel is due")
    }

    /// Leases what comes due by and by; at once where a case moves the clock.
    async fn lease_eventually(&self, max: usize) -> Vec<LeasedParcel> {
        let patience = if self.clock.is_some() { Duration::ZERO } else { PATIENCE };
        let deadline = Instant::now() + patience;
        loop {
            let leased = self.lease(max).await;
            if !leased.is_empty() {
                return leased;
            }
            assert!(Instant::now() < deadline, "a lane comes due");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Leases a parcel for a short time, and lets that pass.
    async fn lease_and_lose(&self) -> LeasedParcel {
        let mut leased = self.lot.lease(LeaseRequest::new(1, SHORT)).await.unwrap();
        self.pass_time(SHORT).await;
        leased.pop().expect("a parcel is due")
    }

    async fn settle(&self, settlements: &[Settlement]) -> Vec<Settled> {
        self.lot.settle(settlements).await.unwrap()
    }

    /// Settles what is under lease.
    async fn settled(&self, settlement: Settlement) {
        assert_eq!(self.settle(&[settlement]).await, [Settled::Yes], "the lease runs");
    }

    /// Makes dead letters of parcels, each of a client of its own.
    async fn kill(&self, numbers: impl IntoIterator<Item = u32>) {
        let parcels = numbers.into_iter().map(|number| parcel(number, &format!("dead {number}")));
        self.park(&parcels.collect::<Vec<_>>()).await;
        for leased in self.lease(100).await {
            self.settled(leased.bury(DeathCause::Undecodable, None)).await;
        }
    }

    async fn parked(&self) -> Vec<u32> {
        let parked = all_parked(&*self.lot, 1000).await;
        parked.iter().map(|parked| number(parked.parcel.id)).collect()
    }

    async fn dead(&self) -> Vec<u32> {
        let dead = all_dead(&*self.lot, 1000).await;
        dead.iter().map(|dead| number(dead.parked.parcel.id)).collect()
    }

    /// Everything that can be seen of a lot.
    async fn held(&self) -> (Vec<ParkedParcel>, Vec<DeadLetter>, u64) {
        let bytes = self.lot.status().await.unwrap().bytes;
        (all_parked(&*self.lot, 1000).await, all_dead(&*self.lot, 1000).await, bytes)
    }
}

type Subject = Fixture<ParkingLotStage>;

/// Returns the id of a number: ids order as their numbers do.
pub(super) fn parcel_id(number: u32) -> ParcelId {
    ParcelId::new(at(i64::from(number)), [0; 10])
}

/// Returns the number of an id.
fn number(id: ParcelId) -> u32 {
    (0..1_000).find(|number| parcel_id(*number) == id).expect("an id that was parked")
}

fn numbers(leased: &[LeasedParcel]) -> Vec<u32> {
    leased.iter().map(|leased| number(leased.parked().parcel.id)).collect()
}

fn content(bytes: impl AsRef<[u8]>) -> ParcelContent {
    ParcelContent::new(bytes.as_ref().to_vec()).unwrap()
}

/// Returns a parcel with a content of its own.
pub(super) fn parcel(number: u32, name: &str) -> Parcel {
    Parcel {
        id: parcel_id(number),
        client: client(name),
        content: content(format!("parcel {number}")),
        reason: ParkReason::Timeout,
    }
}

/// A parcel of which two fit, and not three.
fn long_parcel(number: u32) -> Parcel {
    Parcel { content: content(vec![b'x'; MAX_PARCEL_BYTES]), ..parcel(number, "ann") }
}

/// More pages than any case needs, so that a token that leads back fails instead of going on for ever.
const MAX_PAGES: usize = 10_000;

/// Follows page tokens to the end, in pages of the given size.
pub(super) async fn all_parked(lot: &dyn ParkingLot, size: u16) -> Vec<ParkedParcel> {
    let query = ParcelQuery::default().with_size(PageSize::new(size).unwrap());
    let mut page = lot.parked(&query).await.unwrap();
    let mut items = Vec::new();
    for _ in 0..MAX_PAGES {
        assert!(page.items.len() <= usize::from(size), "a page holds at most what was asked for");
        items.append(&mut page.items);
        let Some(token) = page.next else { return items };
        page = lot.parked(&query.clone().with_token(&token).unwrap()).await.unwrap();
    }
    panic!("the pages of parcels end");
}

/// Follows page tokens to the end, in pages of the given size.
pub(super) async fn all_dead(lot: &dyn ParkingLot, size: u16) -> Vec<DeadLetter> {
    let query = ParcelQuery::default().with_size(PageSize::new(size).unwrap());
    let mut page = lot.dead_letters(&query).await.unwrap();
    let mut items = Vec::new();
    for _ in 0..MAX_PAGES {
        assert!(page.items.len() <= usize::from(size), "a page holds at most what was asked for");
        items.append(&mut page.items);
        let Some(token) = page.next else { return items };
        page = lot.dead_letters(&query.clone().with_token(&token).unwrap()).await.unwrap();
    }
    panic!("the pages of dead letters end");
}

/// PL-1: what was parked is there, as it was parked.
pub async fn pl1_parked_parcels_are_there_at_once(subject: Subject) {
    let stage = &subject.port;
    let parcels: Vec<Parcel> = (0..100).map(|n| parcel(n, &format!("client {}", n % 7))).collect();
    stage.park(&parcels).await;
    let parked = all_parked(&*stage.lot, 1000).await;
    let found: Vec<Parcel> = parked.iter().map(|parked| parked.parcel.clone()).collect();
    assert_eq!(found, parcels);
    assert!(parked.iter().all(|parked| parked.attempts == 0), "nothing was tried");
    assert_eq!(stage.lease(100).await.len(), 100, "everything is due");
}

/// PL-1: an id that is parked, leased or dead, or comes twice in one call.
pub async fn pl1_a_known_parcel_is_not_parked_again(subject: Subject) {
    let stage = &subject.port;
    stage.kill([1]).await;
    stage.park_in("leased", [2]).await;
    assert_eq!(stage.leased().await, [2]);
    let other = |number| Parcel {
        content: content("another content"),
        reason: ParkReason::Outage,
        ..parcel(number, "another client")
    };
    stage.park(&[parcel(3, "parked"), other(3)]).await;
    let before = stage.held().await;
    assert_eq!(before.0[1].parcel, parcel(3, "parked"), "of two with one id the first counts");
    stage.park(&[1, 2, 3].map(other)).await;
    assert_eq!(stage.held().await, before);
    assert_eq!(stage.leased().await, [3], "nothing else is due");
}

/// PL-1: a parcel that was finished may come again.
pub async fn pl1_a_forgotten_parcel_can_be_parked_again(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1]).await;
    stage.settled(stage.lease_one().await.done()).await;
    stage.park_in("ann", [1]).await;
    assert_eq!(stage.leased().await, [1]);
}

/// PL-2: one parcel more than the limit, none of a call that does not fit, and room again.
pub async fn pl2_a_lot_is_full_by_its_parcels(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", 0..99).await;
    let two = [parcel(99, "bob"), parcel(100, "cid")];
    assert!(matches!(stage.lot.park(&two).await, Err(LotError::Full)), "two do not fit");
    assert_eq!(stage.parked().await.len(), 99, "a call that does not fit takes none");
    stage.park(&two[..1]).await;
    assert!(matches!(stage.lot.park(&two[1..]).await, Err(LotError::Full)), "one does not fit");
    stage.settled(stage.lease_one().await.done()).await;
    stage.park(&two[1..]).await;
    assert_eq!(stage.parked().await.len(), 100);
}

/// PL-2: the bytes of the contents count, and not those of what is known already.
pub async fn pl2_a_lot_is_full_by_its_bytes(subject: Subject) {
    let stage = &subject.port;
    stage.park(&[long_parcel(1), long_parcel(2)]).await;
    let before = stage.held().await;
    let refused = stage.lot.park(&[parcel(3, "bob"), long_parcel(4)]).await;
    assert!(matches!(refused, Err(LotError::Full)), "three of the longest do not fit");
    assert_eq!(stage.held().await, before, "a call that does not fit takes none");
    stage.park(&[long_parcel(1), parcel(3, "bob"), long_parcel(2)]).await;
    stage.settled(stage.lease_one().await.done()).await;
    stage.park(&[long_parcel(4)]).await;
    assert_eq!(stage.parked().await, [2, 3, 4]);
}

/// PL-2: a dead letter keeps its room until it is discarded.
pub async fn pl2_dead_letters_take_room(subject: Subject) {
    let stage = &subject.port;
    stage.park(&[long_parcel(1)]).await;
    stage.settled(stage.lease_one().await.bury(DeathCause::Undecodable, None)).await;
    let fill = (2..101).map(|number| parcel(number, "ann")).collect::<Vec<_>>();
    stage.park(&fill).await;
    assert!(matches!(stage.lot.park(&[parcel(101, "bob")]).await, Err(LotError::Full)), "by count");
    for leased in stage.lease(100).await {
        stage.settled(leased.done()).await;
    }
    stage.park(&[long_parcel(102)]).await;
    assert!(matches!(stage.lot.park(&[long_parcel(103)]).await, Err(LotError::Full)), "by bytes");
    assert!(stage.lot.discard(parcel_id(1)).await.unwrap());
    stage.park(&[long_parcel(103)]).await;
}

/// PL-2: what is known needs no room.
pub async fn pl2_a_full_lot_takes_what_it_knows(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", 0..100).await;
    stage.park_in("ann", 0..100).await;
    assert_eq!(stage.parked().await.len(), 100);
}

/// PL-3: a lane, parked in several calls, by ids that do not ascend.
pub async fn pl3_a_lane_comes_in_the_order_of_parking(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [5, 3, 9]).await;
    stage.park_in("ann", [1]).await;
    stage.park_in("ann", [7, 2]).await;
    assert_eq!(stage.leased().await, [5, 3, 9, 1, 7, 2]);
}

/// PL-3: lanes that came due one after the other, by parking, by a retry and by the end of a lease.
pub async fn pl3_lanes_come_in_the_order_in_which_they_are_due(subject: Subject) {
    let stage = &subject.port;
    for (number, name) in [(3, "b"), (1, "c"), (2, "a")] {
        stage.park_in(name, [number]).await;
        stage.pass_time(TICK).await;
    }
    let first = stage.lease_one().await;
    assert_eq!(numbers(std::slice::from_ref(&first)), [3]);
    stage.settled(first.retry(ParkReason::Timeout, Duration::ZERO)).await;
    stage.pass_time(TICK).await;
    stage.park_in("0", [4]).await;
    assert_eq!(stage.leased().await, [1, 2, 3, 4]);
}

/// PL-3: of a lane as many as fit.
pub async fn pl3_no_more_come_than_are_asked_for(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2, 3]).await;
    stage.pass_time(TICK).await;
    stage.park_in("bob", [4, 5, 6]).await;
    stage.pass_time(TICK).await;
    stage.park_in("cid", [7]).await;
    assert_eq!(numbers(&stage.lease(5).await), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&stage.lease(1).await), [7], "the rest of a leased lane waits");
    assert!(stage.lease(5).await.is_empty());
}

/// PL-3: a lane that is leased gets longer, and is leased no more for that.
pub async fn pl3_a_leased_lane_is_not_due(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1]).await;
    let leased = stage.lease_one().await;
    stage.park_in("ann", [2]).await;
    assert!(stage.lease(10).await.is_empty(), "the lane is leased as a whole");
    stage.settled(leased.done()).await;
    assert_eq!(stage.leased().await, [2]);
}

/// PL-3: clients whose names begin alike, or hold what a key could be made with.
pub async fn pl3_clients_that_look_alike_have_lanes_of_their_own(subject: Subject) {
    let stage = &subject.port;
    let long = "ž".repeat(128);
    let names = ["a", "aa", "a:", "a:a", "{a}", "á", "A", "a\u{301}", "Ω'%/\\\"🦀 محمد", "*", "[a-z]", &long];
    let parcels: Vec<Parcel> = (1..).zip(names).map(|(number, name)| parcel(number, name)).collect();
    stage.park(&parcels).await;
    let mut lanes = BTreeSet::new();
    for _ in names {
        let leased = stage.lease_one().await;
        lanes.insert(leased.parked().parcel.client.to_string());
    }
    assert_eq!(lanes, names.map(str::to_owned).into(), "no lane holds up another");
}

/// PL-4: as many callers as there may be redrivers, and less lanes.
pub async fn pl4_racing_leasers_share_no_lane(subject: Subject) {
    let stage = &subject.port;
    for lane in 0..10 {
        stage.park_in(&format!("client {lane}"), lane * 10..lane * 10 + 10).await;
    }
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let lot = Arc::clone(&stage.lot);
            tokio::spawn(async move { lot.lease(LeaseRequest::new(5, LONG)).await.unwrap() })
        })
        .collect();
    let mut holders = BTreeMap::new();
    for (task, answer) in tasks.into_iter().enumerate() {
        for leased in answer.await.unwrap() {
            let holder = *holders.entry(leased.parked().parcel.client.clone()).or_insert(task);
            assert_eq!(holder, task, "a lane has one holder");
        }
    }
    assert_eq!(holders.len(), 10, "every lane was leased");
}

/// PL-5: the lane goes on when all that was leased of it is settled, and not before.
pub async fn pl5_a_lease_that_is_settled_ends(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2, 3]).await;
    let mut leased = stage.lease(2).await;
    stage.settled(leased.remove(0).done()).await;
    assert!(stage.lease(10).await.is_empty(), "one of two is not settled");
    stage.settled(leased.remove(0).retry(ParkReason::Timeout, Duration::ZERO)).await;
    assert_eq!(stage.leased().await, [2, 3]);
}

/// PL-5: a holder that says nothing more.
pub async fn pl5_a_lease_ends_with_its_time(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2]).await;
    let lost = stage.lease_and_lose().await;
    let leased = stage.lease_eventually(10).await;
    assert_eq!(numbers(&leased), [1, 2], "the lane is due again, in its order");
    assert_eq!(leased[0].parked(), lost.parked(), "a lost lease is no attempt");
}

/// PL-5: a lane that was put off does not come with the end of a lease.
pub async fn pl5_a_lane_that_was_put_off_outlasts_its_lease(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2]).await;
    let request = LeaseRequest::new(2, SHORT * 10);
    let first = stage.lot.lease(request).await.unwrap().remove(0);
    // A machine that stood still meanwhile has nothing to show here.
    let answer = stage.settle(&[first.retry(ParkReason::Timeout, LONG)]).await;
    stage.pass_time(SHORT * 11).await;
    if answer == [Settled::Yes] {
        assert!(stage.lease(10).await.is_empty(), "the pause is not over");
    }
}

/// PL-6: good and bad settlements in one call.
pub async fn pl6_answers_are_dense_and_in_order(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2, 3]).await;
    let settlements: Vec<Settlement> = stage.lease(3).await.into_iter().map(LeasedParcel::done).collect();
    stage.settled(settlements[0]).await;
    let answers = stage.settle(&settlements).await;
    assert_eq!(answers, [Settled::LeaseLost, Settled::Yes, Settled::Yes]);
    assert!(stage.settle(&[]).await.is_empty());
}

/// PL-6: a lease that ended with its time, before and after somebody else leased the lane.
pub async fn pl6_a_late_settlement_changes_nothing(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1]).await;
    for leased_again in [false, true] {
        let late = stage.lease_and_lose().await;
        let running = if leased_again { stage.lease_eventually(1).await } else { Vec::new() };
        let before = stage.held().await;
        for settlement in [
            late.clone().done(),
            late.clone().retry(ParkReason::Outage, LONG),
            late.clone().postpone(ParkReason::Outage, LONG),
            late.bury(DeathCause::Undecodable, None),
        ] {
            assert_eq!(stage.settle(&[settlement]).await, [Settled::LeaseLost], "{settlement:?}");
            assert_eq!(stage.held().await, before);
        }
        for leased in running {
            stage.settled(leased.retry(ParkReason::Timeout, Duration::ZERO)).await;
        }
    }
    assert_eq!(stage.leased().await, [1], "the lane is due");
}

/// PL-6: the same settlement again, and another one of the same lease.
pub async fn pl6_settling_twice_is_lease_lost(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2, 3]).await;
    let leased = stage.lease(3).await;
    stage.settled(leased[0].clone().retry(ParkReason::Timeout, Duration::ZERO)).await;
    stage.settled(leased[1].clone().bury(DeathCause::AttemptsSpent, None)).await;
    let before = stage.held().await;
    for leased in &leased[..2] {
        for again in [leased.clone().done(), leased.clone().retry(ParkReason::Outage, LONG)] {
            assert_eq!(stage.settle(&[again]).await, [Settled::LeaseLost]);
        }
    }
    assert_eq!(stage.held().await, before);
    stage.settled(leased[2].clone().done()).await;
    assert_eq!(stage.leased().await, [1], "the lane is put off by nothing");
}

/// PL-7: a parcel that is done leaves nothing.
pub async fn pl7_what_is_done_is_forgotten(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2]).await;
    for leased in stage.lease(2).await {
        stage.settled(leased.done()).await;
    }
    let status = stage.lot.status().await.unwrap();
    assert_eq!((status.parked, status.dead, status.bytes, status.oldest_parked_at), (0, 0, 0, None));
    assert!(stage.parked().await.is_empty() && stage.dead().await.is_empty());
    assert!(stage.lease(10).await.is_empty());
}

/// PL-7: a parcel that failed stays in front, with its new reason, whatever was parked or settled meanwhile.
pub async fn pl7_a_retry_keeps_the_front_place(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [5, 4, 3]).await;
    for _ in 0..3 {
        let mut leased = stage.lease(2).await;
        assert_eq!(numbers(&leased), [5, 4]);
        let (first, second) = (leased.remove(0), leased.remove(0));
        stage.park_in("ann", [9]).await;
        stage.settled(second.retry(ParkReason::Linking, Duration::ZERO)).await;
        stage.settled(first.retry(ParkReason::Screening, Duration::ZERO)).await;
    }
    let leased = stage.lease(10).await;
    assert_eq!(numbers(&leased), [5, 4, 3, 9]);
    let reasons: Vec<_> = leased.iter().map(|leased| leased.parked().parcel.reason).collect();
    let (timeout, linking) = (ParkReason::Timeout, ParkReason::Linking);
    assert_eq!(reasons, [ParkReason::Screening, linking, timeout, timeout]);
}

/// PL-7: the lane waits for its pause, and other lanes do not.
pub async fn pl7_a_lane_waits_for_its_pause(subject: Subject) {
    let stage = &subject.port;
    for (after, counts) in [(SHORT, true), (SHORT, false), (LONG, true)] {
        stage.park_in("ann", [1, 2]).await;
        let leased = stage.lease_one().await;
        let settlement = match counts {
            true => leased.retry(ParkReason::Timeout, after),
            false => leased.postpone(ParkReason::Timeout, after),
        };
        stage.settled(settlement).await;
        if after == SHORT {
            stage.pass_time(SHORT).await;
            let leased = stage.lease_eventually(10).await;
            assert_eq!(numbers(&leased), [1, 2], "the pause is over");
            for leased in leased {
                stage.settled(leased.done()).await;
            }
        }
    }
    stage.park_in("ann", [3]).await;
    stage.park_in("bob", [4]).await;
    assert_eq!(stage.leased().await, [4], "ann's lane is put off, with all that is in it");
}

/// PL-7: of several pauses the one that ends last.
pub async fn pl7_the_longest_pause_counts(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2]).await;
    let mut leased = stage.lease(2).await;
    let (first, second) = (leased.remove(0), leased.remove(0));
    stage.settled(first.retry(ParkReason::Timeout, LONG)).await;
    stage.settled(second.retry(ParkReason::Timeout, Duration::ZERO)).await;
    assert!(stage.lease(10).await.is_empty(), "the first parcel's pause is not over");
}

/// PL-8: what counts as an attempt, and what does not.
pub async fn pl8_attempts_count_what_was_tried(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1]).await;
    let retry = |leased: LeasedParcel| leased.retry(ParkReason::Timeout, Duration::ZERO);
    let postpone = |leased: LeasedParcel| leased.postpone(ParkReason::Outage, Duration::ZERO);
    for (attempts, counts) in [(0, true), (1, false), (1, true), (2, false)] {
        let leased = stage.lease_one().await;
        assert_eq!(leased.parked().attempts, attempts);
        stage.settled(if counts { retry(leased) } else { postpone(leased) }).await;
    }
    stage.settled(stage.lease_one().await.bury(DeathCause::AttemptsSpent, Some(ParkReason::Storing))).await;
    stage.park_in("ann", [2]).await;
    stage.settled(stage.lease_one().await.bury(DeathCause::Undecodable, None)).await;
    let dead = all_dead(&*stage.lot, 1000).await;
    let last = |dead: &DeadLetter| (dead.parked.attempts, dead.parked.parcel.reason, dead.cause);
    assert_eq!(last(&dead[0]), (3, ParkReason::Storing, DeathCause::AttemptsSpent));
    assert_eq!(last(&dead[1]), (0, ParkReason::Timeout, DeathCause::Undecodable));
}

/// PL-9: the lane goes on behind a dead letter, at once.
pub async fn pl9_a_dead_letter_leaves_its_lane(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2]).await;
    stage.settled(stage.lease_one().await.bury(DeathCause::Undecodable, None)).await;
    assert_eq!(stage.leased().await, [2]);
    assert_eq!((stage.parked().await, stage.dead().await), (vec![2], vec![1]));
}

/// PL-9: a dead letter is answered with all that is known of it.
pub async fn pl9_a_dead_letter_can_be_read(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2]).await;
    let leased = stage.lease_one().await;
    let before = leased.parked().clone();
    stage.settled(leased.bury(DeathCause::Undecodable, None)).await;
    let dead = stage.lot.dead_letter(parcel_id(1)).await.unwrap().expect("it is dead");
    assert_eq!((&dead.parked, dead.cause), (&before, DeathCause::Undecodable));
    assert!(dead.died_at >= before.parked_at, "it died after it was parked");
    assert_eq!(all_dead(&*stage.lot, 1000).await, [dead]);
    for other in [2, 3] {
        assert_eq!(stage.lot.dead_letter(parcel_id(other)).await.unwrap(), None, "{other} is not dead");
    }
}

/// PL-10: behind the lane, without attempts.
pub async fn pl10_a_redriven_parcel_comes_behind_its_lane(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2, 3]).await;
    let dead = stage.lease_one().await.bury(DeathCause::AttemptsSpent, Some(ParkReason::Storing));
    stage.settled(dead).await;
    assert!(stage.lot.redrive(parcel_id(1)).await.unwrap());
    let leased = stage.lease(10).await;
    assert_eq!(numbers(&leased), [2, 3, 1]);
    let parked = leased[2].parked();
    assert_eq!((parked.attempts, parked.parcel.reason), (0, ParkReason::Storing));
    assert_eq!(parked.parcel.content, parcel(1, "ann").content);
    assert!(stage.dead().await.is_empty());
}

/// PL-10: a lane that is otherwise empty is due at once.
pub async fn pl10_a_redriven_parcel_is_due_at_once(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1]).await;
    stage.settled(stage.lease_one().await.retry(ParkReason::Timeout, Duration::ZERO)).await;
    stage.settled(stage.lease_one().await.bury(DeathCause::AttemptsSpent, Some(ParkReason::Timeout))).await;
    assert!(stage.lot.redrive(parcel_id(1)).await.unwrap());
    assert_eq!(stage.leased().await, [1]);
}

/// PL-10: what is parked, gone or unknown is no dead letter.
pub async fn pl10_only_dead_letters_are_redriven_or_discarded(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", [1, 2]).await;
    stage.settled(stage.lease_one().await.done()).await;
    let before = stage.held().await;
    for other in [1, 2, 3].map(parcel_id) {
        assert!(!stage.lot.redrive(other).await.unwrap(), "nothing to redrive");
        assert!(!stage.lot.discard(other).await.unwrap(), "nothing to discard");
    }
    assert_eq!(stage.held().await, before);
    assert_eq!(stage.leased().await, [2]);
}

/// PL-10: each of them answers yes once.
pub async fn pl10_discard_forgets_a_dead_letter(subject: Subject) {
    let stage = &subject.port;
    stage.kill([1, 2]).await;
    assert!(stage.lot.discard(parcel_id(1)).await.unwrap());
    assert!(!stage.lot.discard(parcel_id(1)).await.unwrap(), "it is gone");
    assert!(!stage.lot.redrive(parcel_id(1)).await.unwrap(), "it is gone");
    assert_eq!(stage.lot.dead_letter(parcel_id(1)).await.unwrap(), None);
    assert_eq!(stage.dead().await, [2]);
    assert!(stage.lot.redrive(parcel_id(2)).await.unwrap());
    assert!(!stage.lot.redrive(parcel_id(2)).await.unwrap(), "it is parked");
    assert!(!stage.lot.discard(parcel_id(2)).await.unwrap(), "it is parked");
    assert_eq!((stage.parked().await, stage.dead().await), (vec![2], vec![]));
}

/// PL-11: both kinds, in pages of every size, whatever the order of parking, and whoever leased.
pub async fn pl11_pages_are_by_ascending_id(subject: Subject) {
    let stage = &subject.port;
    stage.kill([8, 2, 6, 4]).await;
    stage.park_in("zoe", [9, 1, 5]).await;
    stage.park_in("ann", [7, 3]).await;
    assert_eq!(stage.lease(4).await.len(), 4);
    for size in [1, 2, 3, 4, 5, 1000] {
        let parked = all_parked(&*stage.lot, size).await;
        let parked: Vec<u32> = parked.iter().map(|parked| number(parked.parcel.id)).collect();
        assert_eq!(parked, [1, 3, 5, 7, 9], "parcels in pages of {size}");
        let dead = all_dead(&*stage.lot, size).await;
        let dead: Vec<u32> = dead.iter().map(|dead| number(dead.parked.parcel.id)).collect();
        assert_eq!(dead, [2, 4, 6, 8], "dead letters in pages of {size}");
    }
}

/// PL-11: parcels come and go between two pages.
pub async fn pl11_pages_of_parcels_survive_changes(subject: Subject) {
    let stage = &subject.port;
    stage.park_in("ann", (10..20).map(|n| n * 10)).await;
    let query = ParcelQuery::default().with_size(PageSize::new(5).unwrap());
    let first = stage.lot.parked(&query).await.unwrap();
    let token = first.next.expect("there is a second page");
    let mut leased = stage.lease(10).await;
    for gone in [7, 3, 1] {
        stage.settled(leased.remove(gone).done()).await;
    }
    stage.park_in("bob", [105, 999]).await;
    let second = stage.lot.parked(&query.clone().with_token(&token).unwrap()).await.unwrap();
    let seen = [first.items, second.items].concat();
    let mut seen: Vec<u32> = seen.iter().map(|parked| number(parked.parcel.id)).collect();
    seen.retain(|number| ![105, 110, 130, 170, 999].contains(number));
    assert_eq!(seen, [100, 120, 140, 150, 160, 180, 190]);
}

/// PL-11: dead letters come and go between two pages.
pub async fn pl11_pages_of_dead_letters_survive_changes(subject: Subject) {
    let stage = &subject.port;
    stage.kill((10..20).map(|n| n * 10)).await;
    let query = ParcelQuery::default().with_size(PageSize::new(5).unwrap());
    let first = stage.lot.dead_letters(&query).await.unwrap();
    let token = first.next.expect("there is a second page");
    assert!(stage.lot.discard(parcel_id(110)).await.unwrap());
    assert!(stage.lot.redrive(parcel_id(130)).await.unwrap());
    assert!(stage.lot.discard(parcel_id(170)).await.unwrap());
    assert_eq!(stage.leased().await, [130]);
    stage.kill([105, 999]).await;
    let second = stage.lot.dead_letters(&query.clone().with_token(&token).unwrap()).await.unwrap();
    let seen = [first.items, second.items].concat();
    let mut seen: Vec<u32> = seen.iter().map(|dead| number(dead.parked.parcel.id)).collect();
    seen.retain(|number| ![105, 110, 130, 170, 999].contains(number));
    assert_eq!(seen, [100, 120, 140, 150, 160, 180, 190]);
}

/// PL-11: as many as fit on one page, and none.
pub async fn pl11_the_last_page_has_no_token(subject: Subject) {
    let stage = &subject.port;
    let query = ParcelQuery::default().with_size(PageSize::new(2).unwrap());
    assert_eq!(stage.lot.parked(&query).await.unwrap().next, None);
    assert_eq!(stage.lot.dead_letters(&query).await.unwrap().next, None);
    stage.kill([1, 2]).await;
    stage.park_in("ann", [3, 4]).await;
    let (parked, dead) =
        (stage.lot.parked(&query).await.unwrap(), stage.lot.dead_letters(&query).await.unwrap());
    assert_eq!((parked.items.len(), parked.next), (2, None));
    assert_eq!((dead.items.len(), dead.next), (2, None));
}

/// PL-12: both kinds, their bytes, and the oldest of those that are parked.
pub async fn pl12_status_counts_what_is_held(subject: Subject) {
    let stage = &subject.port;
    let status = async || stage.lot.status().await.unwrap();
    assert_eq!(status().await, crate::domain::LotStatus::default());
    let sized = |number, bytes| Parcel { content: content(vec![0; bytes]), ..parcel(number, "ann") };
    for parcel in [sized(3, 100), sized(2, 20), sized(1, 0)] {
        stage.park(&[parcel]).await;
        stage.pass_time(TICK).await;
    }
    let parked_at = all_parked(&*stage.lot, 1000).await.into_iter().rev().map(|parked| parked.parked_at);
    let parked_at: Vec<_> = parked_at.collect();
    assert!(parked_at.is_sorted_by(|one, other| one < other), "they were parked one after the other");
    let counts = async || {
        let status = status().await;
        (status.parked, status.dead, status.bytes, status.oldest_parked_at)
    };
    assert_eq!(counts().await, (3, 0, 120, Some(parked_at[0])));
    let mut leased = stage.lease(3).await;
    assert_eq!(counts().await, (3, 0, 120, Some(parked_at[0])), "a lease changes nothing");
    stage.settled(leased.remove(1).done()).await;
    assert_eq!(counts().await, (2, 0, 100, Some(parked_at[0])));
    stage.settled(leased.remove(0).bury(DeathCause::Undecodable, None)).await;
    assert_eq!(counts().await, (1, 1, 100, Some(parked_at[2])), "the dead wait for nothing");
    stage.settled(leased.remove(0).done()).await;
    assert_eq!(counts().await, (0, 1, 100, None));
    assert!(stage.lot.redrive(parcel_id(3)).await.unwrap());
    let (parked, dead, bytes, oldest) = counts().await;
    assert_eq!((parked, dead, bytes), (1, 0, 100));
    assert!(oldest > Some(parked_at[2]), "it waits since it was parked again");
}

/// PL-13: whatever bytes, wherever they are answered.
pub async fn pl13_contents_come_back_byte_by_byte(subject: Subject) {
    let stage = &subject.port;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let contents: [&[u8]; 7] = [
        b"",
        b"\0",
        b"\xff\xfe\x80",
        b"\r\n\r\n$5\r\n",
        b"{\"schema\":1}",
        &every_byte,
        &[0xC3; MAX_PARCEL_BYTES],
    ];
    let parcels: Vec<Parcel> = (0..)
        .zip(contents)
        .map(|(number, bytes)| Parcel { content: content(bytes), ..parcel(number, "ann") })
        .collect();
    stage.park(&parcels).await;
    let check = |found: Vec<Parcel>, place: &str| {
        let found: Vec<_> = found.into_iter().map(|parcel| parcel.content).collect();
        assert!(found.iter().map(ParcelContent::as_bytes).eq(contents), "{place}");
    };
    let parked = all_parked(&*stage.lot, 3).await;
    check(parked.into_iter().map(|parked| parked.parcel).collect(), "parked");
    let leased = stage.lease(100).await;
    check(leased.iter().map(|leased| leased.parked().parcel.clone()).collect(), "leased");
    for leased in leased {
        stage.settled(leased.bury(DeathCause::Undecodable, None)).await;
    }
    let dead = all_dead(&*stage.lot, 3).await;
    check(dead.into_iter().map(|dead| dead.parked.parcel).collect(), "dead");
    let mut one_by_one = Vec::new();
    for parcel in &parcels {
        let dead = stage.lot.dead_letter(parcel.id).await.unwrap().expect("it is dead");
        one_by_one.push(dead.parked.parcel);
    }
    check(one_by_one, "a dead letter");
}

/// Lists every case of this suite once.
#[doc(hidden)]
#[macro_export]
macro_rules! parking_lot_cases {
    ([$($emit:tt)+], $args:tt) => {
        $($emit)+! { $args parking_lot:
            pl1_parked_parcels_are_there_at_once,
            pl1_a_known_parcel_is_not_parked_again,
            pl1_a_forgotten_parcel_can_be_parked_again,
            pl2_a_lot_is_full_by_its_parcels,
            pl2_a_lot_is_full_by_its_bytes,
            pl2_dead_letters_take_room,
            pl2_a_full_lot_takes_what_it_knows,
            pl3_a_lane_comes_in_the_order_of_parking,
            pl3_lanes_come_in_the_order_in_which_they_are_due,
            pl3_no_more_come_than_are_asked_for,
            pl3_a_leased_lane_is_not_due,
            pl3_clients_that_look_alike_have_lanes_of_their_own,
            pl4_racing_leasers_share_no_lane,
            pl5_a_lease_that_is_settled_ends,
            pl5_a_lease_ends_with_its_time,
            pl5_a_lane_that_was_put_off_outlasts_its_lease,
            pl6_answers_are_dense_and_in_order,
            pl6_a_late_settlement_changes_nothing,
            pl6_settling_twice_is_lease_lost,
            pl7_what_is_done_is_forgotten,
            pl7_a_retry_keeps_the_front_place,
            pl7_a_lane_waits_for_its_pause,
            pl7_the_longest_pause_counts,
            pl8_attempts_count_what_was_tried,
            pl9_a_dead_letter_leaves_its_lane,
            pl9_a_dead_letter_can_be_read,
            pl10_a_redriven_parcel_comes_behind_its_lane,
            pl10_a_redriven_parcel_is_due_at_once,
            pl10_only_dead_letters_are_redriven_or_discarded,
            pl10_discard_forgets_a_dead_letter,
            pl11_pages_are_by_ascending_id,
            pl11_pages_of_parcels_survive_changes,
            pl11_pages_of_dead_letters_survive_changes,
            pl11_the_last_page_has_no_token,
            pl12_status_counts_what_is_held,
            pl13_contents_come_back_byte_by_byte,
        }
    };
}

/// Emits the [`ParkingLot`] suite for the fixture that a future answers: a
/// [`ParkingLotStage`](crate::testkit::parking_lot::ParkingLotStage).
#[macro_export]
macro_rules! parking_lot_conformance {
    ($fixture:expr) => {
        $crate::parking_lot_cases! { [$crate::emit_conformance_tests], [$fixture] }
    };
}
