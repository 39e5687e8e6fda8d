//! What is known of a parcel whose content is elsewhere takes little memory, so that a million of them may wait.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mini_platform_core::domain::{
    ClientId, LotLimits, MAX_PARCELS, Parcel, ParcelContent, ParcelId, ParkReason, Timestamp,
};
use mini_platform_core::lanes::{Content, Lanes};

const PARCELS: usize = 100_000;

/// A content that is on a disk, of which only the length is known.
#[derive(Clone)]
struct Elsewhere(u16);

impl Content for Elsewhere {
    fn bytes(&self) -> u64 {
        u64::from(self.0)
    }
}

/// Returns the bytes that a parcel takes when so many clients have all of them.
fn bytes_a_parcel(clients: usize) -> usize {
    let mut random = fastrand::Rng::with_seed(1);
    let parcels: Vec<Parcel> = (0..PARCELS)
        .map(|number| {
            // 2,000 a second.
            let made_at = Timestamp::from_micros(i64::try_from(number).unwrap() * 500).unwrap();
            Parcel {
                id: ParcelId::new(made_at, [(); 10].map(|()| random.u8(..))),
                client: ClientId::new(format!("client {}", number % clients)).unwrap(),
                content: ParcelContent::new(Vec::new()).unwrap(),
                reason: ParkReason::Timeout,
            }
        })
        .collect();
    let mut lot = None;
    let used = allocation_counter::measure(|| {
        let lanes = lot.insert(Lanes::new(LotLimits::default(), Timestamp::UNIX_EPOCH));
        for parcels in parcels.chunks(MAX_PARCELS) {
            let admitted = lanes.admit(Timestamp::UNIX_EPOCH, parcels, |_| Elsewhere(250)).unwrap();
            lanes.enter(admitted.into_iter().map(|(sequence, _)| sequence));
        }
    });
    usize::try_from(used.bytes_current).unwrap() / PARCELS
}

#[test]
fn a_parcel_takes_little_beside_its_content() {
    for (clients, at_most) in [(1_000, 220), (PARCELS, 460)] {
        let bytes = bytes_a_parcel(clients);
        assert!(bytes <= at_most, "{bytes} bytes a parcel of {clients} clients");
    }
}
