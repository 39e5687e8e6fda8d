//! What is particular to a parking lot in a folder: reopening, damage, what is left on the disk.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use mini_platform_core::domain::{
    DeathCause, LeaseRequest, LeasedParcel, LotLimits, Parcel, ParcelContent, ParcelId, ParcelQuery,
    ParkReason, Settled,
};
use mini_platform_core::error::{FaultKind, LotError};
use mini_platform_core::port::ParkingLot;
use mini_platform_core::testkit::{ManualClock, at, client};
use mini_platform_embedded::{Embedded, EmbeddedConfig, EmbeddedParkingLot, OpenError};

const HOUR: Duration = Duration::from_secs(3_600);

/// Opens a folder whose clock stands still.
fn open_at(dir: &Path, second: i64) -> (Embedded, EmbeddedParkingLot) {
    let clock = Arc::new(ManualClock::new(at(second)));
    let embedded = Embedded::open(&EmbeddedConfig::new(dir).with_clock(clock)).unwrap();
    let lot = embedded.parking_lot(LotLimits::default()).unwrap();
    (embedded, lot)
}

/// Changes what lies on the disk, behind the back of a closed store.
fn tamper(dir: &Path, keyspace: &str, change: impl FnOnce(&Keyspace, &mut OwnedWriteBatch)) {
    let db = Database::builder(dir.join("store")).open().unwrap();
    let keyspace = db.keyspace(keyspace, KeyspaceCreateOptions::default).unwrap();
    let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
    change(&keyspace, &mut batch);
    batch.commit().unwrap();
}

/// Damages the bytes that begin so, in every table below a folder.
fn flip_a_bit_of(beginning: &[u8], dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            flip_a_bit_of(beginning, &path);
        } else if path.extension().is_none_or(|ending| ending != "jnl") {
            let mut bytes = fs::read(&path).unwrap();
            if let Some(place) = bytes.windows(beginning.len()).position(|found| found == beginning) {
                *bytes.get_mut(place).unwrap() ^= 1;
                fs::write(path, bytes).unwrap();
            }
        }
    }
}

fn id(number: u8) -> ParcelId {
    ParcelId::new(at(i64::from(number)), [number; 10])
}

fn parcel(number: u8, name: &str) -> Parcel {
    let content = ParcelContent::new(vec![number; 1_000]).unwrap();
    Parcel { id: id(number), client: client(name), content, reason: ParkReason::Timeout }
}

async fn lease(lot: &EmbeddedParkingLot, max: usize) -> Vec<LeasedParcel> {
    lot.lease(LeaseRequest::new(max, HOUR)).await.unwrap()
}

fn ids(leased: &[LeasedParcel]) -> Vec<ParcelId> {
    leased.iter().map(|leased| leased.parked().parcel.id).collect()
}

fn fault_kind(error: LotError) -> FaultKind {
    match error {
        LotError::Fault(fault) => fault.kind(),
        other => panic!("a fault: {other:?}"),
    }
}

#[tokio::test]
async fn parcels_outlive_a_restart_with_their_attempts_their_order_and_their_pause() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, lot) = open_at(dir.path(), 100);
    let numbers = [5, 4, 3, 2];
    lot.park(&numbers.map(|number| parcel(number, "ann"))).await.unwrap();
    lot.park(&[parcel(9, "bob")]).await.unwrap();
    let mut leased = lease(&lot, 4).await;
    let (first, second) = (leased.remove(0), leased.remove(0));
    let retry = first.retry(ParkReason::Storing, Duration::from_secs(10));
    let bury = second.bury(DeathCause::AttemptsSpent, Some(ParkReason::Linking));
    assert_eq!(lot.settle(&[retry, bury]).await.unwrap(), [Settled::Yes; 2]);
    let (all, status) = (ParcelQuery::default(), lot.status().await.unwrap());
    let (parked, dead) = (lot.parked(&all).await.unwrap(), lot.dead_letters(&all).await.unwrap());
    drop((embedded, lot));
    for clock in [109, 110] {
        let (embedded, lot) = open_at(dir.path(), clock);
        assert_eq!(lot.status().await.unwrap(), status);
        assert_eq!(lot.parked(&all).await.unwrap(), parked);
        assert_eq!(lot.dead_letters(&all).await.unwrap(), dead);
        let leased = lease(&lot, 10).await;
        match clock {
            109 => assert_eq!(ids(&leased), [id(9)], "the pause of ann's lane is not over"),
            _ => {
                assert_eq!(ids(&leased), [5, 3, 2, 9].map(id), "leases end with the process");
                let first = leased.first().unwrap().parked();
                assert_eq!((first.attempts, first.parcel.reason), (1, ParkReason::Storing));
            }
        }
        embedded.close().await;
    }
}

#[tokio::test]
async fn a_redriven_parcel_is_behind_its_lane_after_a_restart_too() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, lot) = open_at(dir.path(), 100);
    lot.park(&[1, 2].map(|number| parcel(number, "ann"))).await.unwrap();
    let bury = lease(&lot, 1).await.remove(0).bury(DeathCause::Undecodable, None);
    lot.settle(&[bury]).await.unwrap();
    assert!(lot.redrive(id(1)).await.unwrap());
    embedded.close().await;
    let (embedded, lot) = open_at(dir.path(), 200);
    lot.park(&[parcel(0, "ann")]).await.unwrap();
    drop((embedded, lot));
    let (_embedded, lot) = open_at(dir.path(), 300);
    assert_eq!(ids(&lease(&lot, 10).await), [2, 1, 0].map(id));
}

#[tokio::test]
async fn a_settlement_of_an_earlier_life_is_lease_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, lot) = open_at(dir.path(), 100);
    lot.park(&[parcel(1, "ann")]).await.unwrap();
    let late = lease(&lot, 1).await.remove(0);
    embedded.close().await;
    let (_embedded, lot) = open_at(dir.path(), 101);
    let leased = lease(&lot, 1).await;
    assert_eq!(lot.settle(&[late.done()]).await.unwrap(), [Settled::LeaseLost]);
    let done = leased.into_iter().map(LeasedParcel::done).collect::<Vec<_>>();
    assert_eq!(lot.settle(&done).await.unwrap(), [Settled::Yes]);
}

#[tokio::test]
async fn what_is_done_or_discarded_leaves_nothing_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, lot) = open_at(dir.path(), 100);
    lot.park(&[1, 2].map(|number| parcel(number, "ann"))).await.unwrap();
    let mut leased = lease(&lot, 2).await;
    let (first, second) = (leased.remove(0), leased.remove(0));
    lot.settle(&[first.done(), second.bury(DeathCause::Undecodable, None)]).await.unwrap();
    assert!(lot.discard(id(2)).await.unwrap());
    embedded.close().await;
    for keyspace in ["parcels", "contents"] {
        tamper(dir.path(), keyspace, |keyspace, _| assert_eq!(keyspace.iter().count(), 0));
    }
}

#[tokio::test]
async fn a_folder_has_one_parking_lot() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, lot) = open_at(dir.path(), 100);
    lot.park(&[parcel(1, "ann")]).await.unwrap();
    let again = embedded.parking_lot(LotLimits::default()).unwrap();
    assert_eq!(lease(&again, 1).await.len(), 1);
    assert!(lease(&lot, 1).await.is_empty(), "both are the same lot");
    let other = LotLimits { parcels: 7, bytes: 8 };
    let refused = embedded.parking_lot(other).unwrap_err();
    let said = "the parking lot is in use with room for 1000000 parcels and 268435456 bytes";
    assert_eq!(refused.to_string(), said);
}

#[tokio::test]
async fn data_of_the_second_format_has_room_for_parcels() {
    let dir = tempfile::tempdir().unwrap();
    open_at(dir.path(), 100).0.close().await;
    tamper(dir.path(), "meta", |meta, batch| batch.insert(meta, "format", [2]));
    let (embedded, lot) = open_at(dir.path(), 200);
    lot.park(&[parcel(1, "ann")]).await.unwrap();
    embedded.close().await;
    tamper(dir.path(), "meta", |meta, _| {
        let found = meta.get("format").unwrap();
        assert_eq!(found.as_deref(), Some([3].as_slice()), "older programs would not see what waits");
    });
    let (_embedded, lot) = open_at(dir.path(), 300);
    assert_eq!(lease(&lot, 1).await.len(), 1);
}

#[tokio::test]
async fn a_damaged_parcel_is_reported_when_the_lot_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, lot) = open_at(dir.path(), 100);
    lot.park(&[parcel(1, "ann")]).await.unwrap();
    embedded.close().await;
    tamper(dir.path(), "parcels", |parcels, batch| batch.insert(parcels, id(1).to_bytes(), [9]));
    let embedded = Embedded::open(&EmbeddedConfig::new(dir.path())).unwrap();
    let refused = embedded.parking_lot(LotLimits::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_missing_content_is_a_corrupt_fault_for_whoever_lists_it() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, lot) = open_at(dir.path(), 100);
    lot.park(&[parcel(1, "ann")]).await.unwrap();
    embedded.close().await;
    tamper(dir.path(), "contents", |contents, batch| batch.remove(contents, id(1).to_bytes()));
    let (_embedded, lot) = open_at(dir.path(), 200);
    assert_eq!(fault_kind(lot.parked(&ParcelQuery::default()).await.unwrap_err()), FaultKind::Corrupt);
}

#[tokio::test]
async fn a_damaged_content_holds_up_its_lane_and_nobody_else() {
    let damages: [fn(&Keyspace, &mut OwnedWriteBatch); 2] = [
        |contents, batch| batch.remove(contents, id(2).to_bytes()),
        |contents, batch| batch.insert(contents, id(2).to_bytes(), [9]),
    ];
    for damage in damages {
        let dir = tempfile::tempdir().unwrap();
        let (embedded, lot) = open_at(dir.path(), 100);
        lot.park(&[1, 2, 3].map(|number| parcel(number, "ann"))).await.unwrap();
        lot.park(&[4, 5].map(|number| parcel(number, "bob"))).await.unwrap();
        embedded.close().await;
        tamper(dir.path(), "contents", damage);
        let clock = Arc::new(ManualClock::new(at(200)));
        let config = EmbeddedConfig::new(dir.path()).with_clock(clock.clone());
        let embedded = Embedded::open(&config).unwrap();
        let lot = embedded.parking_lot(LotLimits::default()).unwrap();
        let leased = lease(&lot, 10).await;
        assert_eq!(ids(&leased), [1, 4, 5].map(id), "nothing of ann overtakes what is damaged");
        let done: Vec<_> = leased.into_iter().map(LeasedParcel::done).collect();
        assert_eq!(lot.settle(&done).await.unwrap(), [Settled::Yes; 3]);
        lot.park(&[parcel(6, "bob")]).await.unwrap();
        assert_eq!(ids(&lease(&lot, 10).await), [id(6)], "the lane of ann waits for the end of its lease");
        clock.advance(HOUR);
        assert_eq!(ids(&lease(&lot, 10).await), [id(6)], "what is damaged stays so");
        assert_eq!(lot.status().await.unwrap().parked, 3, "and is not lost");
    }
}

#[tokio::test]
async fn a_damaged_table_holds_up_the_lanes_of_its_parcels_only() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, lot) = open_at(dir.path(), 100);
    // Of bytes that are compressed to nothing shorter, so that they are found.
    let content: Vec<_> =
        (0..1_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_be_bytes()).collect();
    let damaged = Parcel { content: ParcelContent::new(content.clone()).unwrap(), ..parcel(1, "ann") };
    lot.park(&[damaged]).await.unwrap();
    embedded.close().await;
    flip_a_bit_of(&content[..16], &dir.path().join("store"));
    let (_embedded, lot) = open_at(dir.path(), 200);
    lot.park(&[parcel(2, "bob")]).await.unwrap();
    assert_eq!(fault_kind(lot.parked(&ParcelQuery::default()).await.unwrap_err()), FaultKind::Corrupt);
    assert_eq!(ids(&lease(&lot, 10).await), [id(2)]);
}

#[tokio::test]
async fn a_lot_of_a_closed_store_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, lot) = open_at(dir.path(), 100);
    embedded.close().await;
    let refusals = [
        lot.park(&[parcel(1, "ann")]).await.unwrap_err(),
        lot.lease(LeaseRequest::new(1, HOUR)).await.unwrap_err(),
        lot.settle(&[]).await.unwrap_err(),
        lot.status().await.unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(fault_kind(refusal), FaultKind::Unavailable);
    }
}
