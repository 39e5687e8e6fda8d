//! Parking, leasing and settling against a bare pipeline of as many `PING`s, on a server of its own.
//!
//! ```sh
//! cargo bench -p mini-platform-redis --bench parking
//! ```
//!
//! The server syncs every write to its disk before it answers. While a call runs it serves nobody else, so the time
//! of the longest call is what others may wait.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::time::{Duration, Instant};

use mini_platform_core::domain::{
    LeaseRequest, LotLimits, MAX_PARCELS, Parcel, ParcelContent, ParcelId, ParkReason, Timestamp,
};
use mini_platform_core::port::ParkingLot;
use mini_platform_core::testkit::client;
use mini_platform_redis::testkit::RedisServer;
use mini_platform_redis::{Redis, RedisConfig};
use redis::Pipeline;

const CLIENTS: usize = 5_000;
/// As long as a usual event is in its parked form.
const CONTENT: [u8; 250] = [b'x'; 250];
const ROUNDS: u32 = 100;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let Some(server) = RedisServer::start_with(&["--appendfsync", "always"]) else { return };
    let config = RedisConfig::new(server.url()).with_timeout(Duration::from_secs(30));
    let redis = Redis::connect(&config).await.unwrap();
    let lot = redis.parking_lot(LotLimits::default()).await.unwrap();
    let open = redis::Client::open(server.url()).unwrap();
    let mut bare = open.get_multiplexed_async_connection().await.unwrap();
    let mut pings = Pipeline::with_capacity(MAX_PARCELS);
    for _ in 0..MAX_PARCELS {
        pings.cmd("PING").ignore();
    }
    let mut numbers = 0_u128..;
    let [mut park, mut lease, mut settle, mut ping] = [Taken::default(); 4];
    // In turns, so that all meet the same moments of the machine.
    for _ in 0..ROUNDS {
        let parcels: Vec<Parcel> = numbers.by_ref().take(MAX_PARCELS).map(parcel).collect();
        let started = Instant::now();
        lot.park(&parcels).await.unwrap();
        park.note(started);
        let started = Instant::now();
        let leased = lot.lease(LeaseRequest::new(MAX_PARCELS, Duration::from_secs(60))).await.unwrap();
        lease.note(started);
        let settlements: Vec<_> = leased.into_iter().map(|leased| leased.done()).collect();
        let started = Instant::now();
        lot.settle(&settlements).await.unwrap();
        settle.note(started);
        let started = Instant::now();
        let () = pings.query_async(&mut bare).await.unwrap();
        ping.note(started);
    }
    for (name, taken) in [("park", &park), ("lease", &lease), ("settle", &settle), ("PING", &ping)] {
        let ratio = ping.all.as_secs_f64() / taken.all.as_secs_f64();
        let each = taken.all / ROUNDS;
        println!(
            "{name:6} {MAX_PARCELS}: {each:.1?}, at most {:.1?}; PING / {name} {ratio:.2}",
            taken.longest
        );
    }
}

#[derive(Clone, Copy, Default)]
struct Taken {
    all: Duration,
    longest: Duration,
}

impl Taken {
    fn note(&mut self, started: Instant) {
        let taken = started.elapsed();
        self.all += taken;
        self.longest = self.longest.max(taken);
    }
}

fn parcel(number: u128) -> Parcel {
    let lane = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % CLIENTS as u128;
    let mut random = [0; 10];
    random.copy_from_slice(number.to_be_bytes().get(6..).unwrap());
    Parcel {
        id: ParcelId::new(Timestamp::UNIX_EPOCH, random),
        client: client(&format!("client {lane}")),
        content: ParcelContent::new(&CONTENT[..]).unwrap(),
        reason: ParkReason::Timeout,
    }
}
