//! The configuration: defaults, then a TOML file, then the environment, then flags.
//!
//! Here are the table of keys and the rules between them. Nothing is read from outside but in
//! [`Sources::gather`], so a test hands over texts. All problems are found in one run.
//!
//! To add a key: a row in the table below, then run the ignored test `the_commented_file_is_written_anew`.
//! For a new kind of value see `value.rs`; a rule between two keys goes to `check`.
//!
//! ```
//! use std::time::Duration;
//! use mini_platform_bins::config::{Config, Sources};
//!
//! let file = Some(("mini-platform.toml".into(), "[dispatch]\ntimeout = \"250ms\"".to_owned()));
//! let loaded = Config::load(&Sources { file, ..Sources::default() })?;
//! assert_eq!(loaded.config.dispatch.timeout, Duration::from_millis(250));
//! # Ok::<(), mini_platform_bins::config::ConfigProblems>(())
//! ```

mod layers;
mod need;
mod node;
mod print;
mod problem;
mod reader;
mod table;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mini_platform_core::domain::{Currency, MAX_BATCH, MatchMode, NodeAddress, WorkerId};
use mini_platform_core::feeder::{ListFormat, Ratio};
use mini_platform_core::worker::ScreenedParties;

use node::{AdvertisedAddress, Nodes, OptionalToken, OptionalWorkerId};
use reader::{Entry, Key, Reader};
use table::config_table;
use value::{
    Address, Brokers, Choice, CurrencyCode, FeedSources, Folder, Integer, KeyPrefix, MemorySize,
    OptionalFile, OptionalSecret, OptionalText, SecretText, Share, Size, Switch, Text, Time, TimeOrZero,
};

pub use layers::{Sources, VARIABLE_PREFIX};
pub use need::Need;
pub use problem::{ConfigProblems, Misconfigured, Origin, Problem};
pub use value::Secret;

config_table! {
    /// Configures how clients are served over HTTP.
    http: HttpConfig {
        /// Names the address to listen on; port 0 picks a free one.
        /// Loopback: other machines reach a new installation only once somebody decides so.
        "http.listen" = "127.0.0.1:8080" => listen: SocketAddr as Address;

        /// Limits the body of a request with one event.
        /// One event is below 4 KiB even with the longest names, every letter of them escaped.
        "http.max_body" = "64KiB" => max_body: usize as MemorySize;

        /// Limits one line of NDJSON; the number of lines is free.
        /// A line is one event, so it is as large as one body.
        "http.max_line" = "64KiB" => max_line: usize as MemorySize;

        /// Limits a JSON array of events, which is held in memory as a whole.
        /// Room for about a hundred thousand events; who has more sends NDJSON.
        "http.max_array" = "16MiB" => max_array: usize as MemorySize;

        /// Limits the time until a request's head is complete; idle connections end, too.
        /// A slow client needs a second or two; one that sends nothing holds no connection.
        "http.header_timeout" = "10s" => header_timeout: Duration as Time;

        /// Limits the time until a body is complete, or the next line of a stream.
        /// The largest array arrives in it at 5 Mbit/s; clients that trickle bytes hold no connection.
        "http.body_timeout" = "30s" => body_timeout: Duration as Time;

        /// Limits the connections that are open at once; more wait to be accepted.
        /// Room for hundreds of clients with a pool each; a connection costs memory and an open file.
        "http.max_connections" = "4096" => max_connections: usize as Integer(1..=65_536);

        /// Limits the time that requests in flight get to finish after a signal to stop.
        /// Well below the 30 seconds after which Kubernetes kills a process.
        "http.shutdown_grace" = "10s" => shutdown_grace: Duration as Time;
    }

    /// Configures how dispatchers and workers are served over gRPC.
    grpc: GrpcConfig {
        /// Names the address to listen on; a worker's own default is 127.0.0.1:9082.
        /// Port 0 picks a free one. Loopback: whoever reaches it may submit events without a password.
        "grpc.listen" = "127.0.0.1:9081" => listen: SocketAddr as Address;

        /// Limits one message that is taken.
        /// A full batch of events with the longest names fits, and what it unpacks to stays small.
        "grpc.max_message" = "1MiB" => max_message: usize as MemorySize;

        /// Limits the connections that are open at once; more wait to be accepted.
        /// Each dispatcher and worker keeps one, so most of this is room for clients.
        "grpc.max_connections" = "1024" => max_connections: usize as Integer(1..=65_536);

        /// Limits the requests that are served at once; more are answered as overload.
        /// Far more than keep a store busy; what waits longer times out anyway.
        "grpc.max_in_flight" = "1024" => max_in_flight: usize as Integer(1..=65_536);

        /// Limits the time that requests in flight get to finish after a signal to stop.
        /// As over HTTP: well below the 30 seconds after which Kubernetes kills a process.
        "grpc.shutdown_grace" = "10s" => shutdown_grace: Duration as Time;
    }

    /// Configures how workers belong to the clusters of dispatchers.
    cluster: ClusterConfig {
        /// Lists the dispatchers that a worker joins, each as http://HOST:PORT.
        /// A dispatcher on the same machine, for a first try.
        "cluster.join" = "http://127.0.0.1:9081" => join: Vec<NodeAddress> as Nodes;

        /// Names the address at which dispatchers reach a worker, as http://HOST:PORT.
        /// None: the one that it listens on, which is right unless that stands for all, like 0.0.0.0.
        "cluster.advertise" = "" => advertise: Option<NodeAddress> as AdvertisedAddress;

        /// Names a worker in its clusters: up to 128 printable characters without spaces.
        /// None: the host and port at which it is reached, which no other worker has; random on a free port.
        "cluster.worker_id" = "" => worker_id: Option<WorkerId> as OptionalWorkerId;

        /// Holds the secret that lets a worker join; the same at dispatchers and workers.
        /// None: on loopback only who is on the machine can join.
        "cluster.token" = "" => token: Option<Secret> as OptionalToken;

        /// Limits the workers of a dispatcher; more are rejected.
        /// More than one dispatcher keeps busy; a mistake that starts thousands ends here.
        "cluster.max_workers" = "128" => max_workers: usize as Integer(1..=10_000);

        /// Sets how long a worker stays a member without a heartbeat.
        /// It sends three in this time: a pause of a second or two takes nobody out, and who is gone is gone soon.
        "cluster.lease" = "5s" => lease: Duration as Time;
    }

    /// Configures what only the worker program has.
    worker: WorkerConfig {
        /// Names the address of the worker program's probes and metrics.
        /// Port 0 picks a free one. Loopback, and beside the ports of the other programs.
        "worker.listen" = "127.0.0.1:9084" => listen: SocketAddr as Address;
    }

    /// Configures how events are gathered to batches and handed to workers.
    dispatch: DispatchConfig {
        /// Chooses how a worker is picked: "p2c_ewma" is the better of two at random.
        /// "round_robin" is one after the other, "least_in_flight" the least busy one, and "rendezvous" the same
        /// one for the same client. The default soon keeps away from a worker that is slow or fails.
        "dispatch.policy" = "p2c_ewma" => policy: Policy as POLICIES;

        /// Limits the requests that are with workers at once; more are overload.
        /// Far more than keep the stores busy; beyond it everybody only waits longer.
        "dispatch.max_in_flight" = "1024" => max_in_flight: usize as Integer(1..=1_000_000);

        /// Limits the time in which an event is finished, from its arrival in the queue.
        /// Far above what a durable write takes, and short enough for a person who waits.
        "dispatch.timeout" = "1s" => timeout: Duration as Time;

        /// Limits the events of one batch.
        /// The cost of a call and of a durable write is well spread at this size.
        "dispatch.max_batch" = "512" => max_batch: usize as Integer(1..=MAX_BATCH);

        /// Limits the events that wait for a batch; more are overload.
        /// Sixteen full batches: a burst fits. Fewer are overload, too, when they would wait for a quarter of the timeout.
        "dispatch.queue" = "8192" => queue: usize as Integer(1..=1_000_000);
    }

    /// Configures what is assumed of events that leave something out.
    events: EventsConfig {
        /// Names the currency of events without one, by its ISO 4217 code.
        /// The currency of the first banks that are served.
        "events.default_currency" = "CZK" => default_currency: Currency as CurrencyCode;
    }

    /// Configures how events are checked against the fraud list.
    screening: ScreeningConfig {
        /// Chooses who is screened: "brief", or "both" parties of every event.
        /// Brief: the receiver of a transaction and who withdraws. It matters where the money goes to.
        "screening.parties" = "brief" => parties: ScreenedParties as PARTIES;

        /// Chooses how names are compared: "normalized", or "exact", byte by byte.
        /// Normalized ignores case, width and repeated space, in which lists and banks differ.
        "screening.match" = "normalized" => match_mode: MatchMode as MATCH_MODES;
    }

    /// Configures where events are stored.
    store: StoreConfig {
        /// Chooses "embedded", on disk; "memory", lost at the end; or "mongodb".
        /// Durable without a server to install.
        "store.backend" = "embedded" => backend: StoreBackend as STORE_BACKENDS;
    }

    /// Configures where interactions and branches of clients are kept.
    adjacency: AdjacencyConfig {
        /// Chooses "embedded", on disk; "memory", lost at the end; or "redis".
        /// Durable without a server to install.
        "adjacency.backend" = "embedded" => backend: AdjacencyBackend as ADJACENCY_BACKENDS;
    }

    /// Configures where the fraud list in force is kept.
    registry: RegistryConfig {
        /// Chooses "embedded", on disk; "memory", lost at the end; or "redis".
        /// Durable: after a restart events are screened before the source is read again.
        "registry.backend" = "embedded" => backend: RegistryBackend as REGISTRY_BACKENDS;

        /// Limits the age of the copy of Redis' list in the process; "0s" is no copy.
        /// It saves a round trip for each batch, and a new name counts within seconds. When Redis is away
        /// for longer, screening stops.
        "registry.max_staleness" = "5s" => max_staleness: Duration as TimeOrZero;
    }

    /// Configures the embedded store, which is on disk and in the process itself.
    embedded: EmbeddedConfig {
        /// Names the folder of the data, which is made when it is missing.
        /// In the working folder, so that a first try is easy to find and to delete.
        "embedded.dir" = "data" => dir: PathBuf as Folder;

        /// Limits the memory of the block cache.
        /// Small machines can spare it; more helps when many different clients are looked up.
        "embedded.cache" = "16MiB" => cache: u64 as Size;
    }

    /// Configures the connection to MongoDB, for `store.backend = "mongodb"`.
    mongodb: MongodbConfig {
        /// Names the server or replica set, with user and password if any.
        /// Where a server listens that was just installed.
        "mongodb.uri" = "mongodb://127.0.0.1:27017" => uri: Secret as SecretText;

        /// Names the database, which is made when it is missing.
        /// Says whose it is, on a server that others use, too.
        "mongodb.database" = "mini_platform" => database: String as Text;

        /// Limits the connections to each server.
        /// A worker writes a few batches at once; the rest serves reads.
        "mongodb.max_pool" = "32" => max_pool: u32 as Integer(1..=10_000);

        /// Limits the time of one call.
        /// Long enough for a new primary to be found, and no caller waits for ever.
        "mongodb.timeout" = "5s" => timeout: Duration as Time;
    }

    /// Configures the connection to Redis, for `adjacency.backend`, `registry.backend` and `parking.backend`.
    redis: RedisConfig {
        /// Names the server, cluster or Sentinels, with user and password if any.
        /// `redis://`, `redis+cluster://` or `redis+sentinel://`; with TLS `rediss` in the place of `redis`.
        /// Where a server listens that was just installed.
        "redis.url" = "redis://127.0.0.1:6379" => url: Secret as SecretText;

        /// Starts the name of every key: up to 64 letters, digits and `_ - . :`.
        /// Says whose the keys are, on a server that others use, too; short, as it is in every key.
        "redis.key_prefix" = "mp" => key_prefix: String as KeyPrefix;

        /// Limits the time of one call.
        /// A call takes about a millisecond; after seconds there is no server.
        "redis.timeout" = "2s" => timeout: Duration as Time;

        /// Names a file (PEM) with the certificate authority of the server.
        /// None: the authorities that browsers trust.
        "redis.ca_file" = "" => ca_file: Option<PathBuf> as OptionalFile;
    }

    /// Configures the connection to Kafka, for `log.backend = "kafka"`.
    kafka: KafkaConfig {
        /// Lists the brokers to start from, each as HOST:PORT.
        /// Where a broker listens that was just installed.
        "kafka.brokers" = "127.0.0.1:9092" => brokers: Vec<String> as Brokers;

        /// Names the topic of the long-term log.
        /// What its readers were told.
        "kafka.topic" = "long_term_storage" => topic: String as Text;

        /// Sets the partitions of the topic when it is made, because it is missing.
        /// Room for a dozen readers side by side; more can be added, but then clients change places.
        "kafka.partitions" = "12" => partitions: u16 as Integer(1..=10_000);

        /// Limits the time of one request to a broker.
        /// Long enough for a new leader to be found.
        "kafka.timeout" = "10s" => timeout: Duration as Time;
    }

    /// Configures the connection to S3, for `feeder.source = "s3://bucket/key"`.
    s3: S3Config {
        /// Names a server other than Amazon's, such as "http://127.0.0.1:9000".
        /// None: Amazon's, in the region.
        "s3.endpoint" = "" => endpoint: Option<String> as OptionalText;

        /// Names the region of the bucket.
        /// What servers other than Amazon's take for granted.
        "s3.region" = "us-east-1" => region: String as Text;

        /// Names the access key.
        /// None: what the environment, a profile or the machine's role gives.
        "s3.access_key_id" = "" => access_key_id: Option<String> as OptionalText;

        /// Holds the secret that belongs to the access key.
        /// None: as for the access key.
        "s3.secret_access_key" = "" => secret_access_key: Option<Secret> as OptionalSecret;

        /// Puts the bucket into the path instead of the host's name.
        /// Amazon wants it in the name; most other servers want it in the path.
        "s3.force_path_style" = "false" => force_path_style: bool as Switch;

        /// Limits the time without any progress of a request.
        /// Long lists take longer as a whole; silence for this long is an outage.
        "s3.timeout" = "10s" => timeout: Duration as Time;
    }

    /// Configures how the fraud list is fetched and when it is refused.
    feeder: FeederConfig {
        /// Lists the sources of entries: "bundled", "file:PATH", "s3://BUCKET/KEY".
        /// Or "none", when a feeder elsewhere keeps the registry.
        /// The bundled sample lets a new installation screen something at once.
        "feeder.source" = "bundled" => source: Vec<FeedSource> as FeedSources;

        /// Names the format: "auto", "text", "csv", "ofac-sdn" or "opensanctions".
        /// Auto looks at the content, so that only an unusual file needs a word.
        "feeder.format" = "auto" => format: ListFormat as LIST_FORMATS;

        /// Names the column of a CSV file, by its header, that holds the names.
        /// What most published lists call it.
        "feeder.column" = "name" => column: String as Text;

        /// Sets the pause between two looks at the source.
        /// A new name counts within half a minute, and an unchanged file costs next to nothing.
        "feeder.interval" = "30s" => interval: Duration as Time;

        /// Shortens each pause by up to this part of it, at random.
        /// Feeders that start together do not ask the source together.
        "feeder.jitter" = "0.1" => jitter: Ratio as Share;

        /// Refuses a list that lost more than this part of the entries in force.
        /// Real lists shrink slowly; half of one is a torn upload.
        "feeder.max_shrink" = "0.5" => max_shrink: Ratio as Share;

        /// Refuses a list in which more than this part of the rows is malformed.
        /// Published lists have a few odd rows; more than that is another format.
        "feeder.max_malformed" = "0.01" => max_malformed: Ratio as Share;

        /// Limits the time since a feeder anywhere found the list to be the newest.
        /// Sanction lists change daily, so with an older one the feed has stopped: the platform is not ready.
        "feeder.max_age" = "24h" => max_age: Duration as Time;

        /// Refuses a source with more bytes than this, unpacked.
        /// More than published lists have; a compressed bomb ends here.
        "feeder.max_size" = "1GiB" => max_size: u64 as Size;

        /// Refuses a list with more entries than this.
        /// Far more than published lists have, and about a gigabyte of memory.
        "feeder.max_entries" = "10000000" => max_entries: u64 as Integer(1..=1_000_000_000);

        /// Names the address of the feeder program's probes and metrics.
        /// Port 0 picks a free one. Loopback, and beside the ports of the other programs.
        "feeder.listen" = "127.0.0.1:9083" => listen: SocketAddr as Address;
    }

    /// Configures where events wait that no worker could finish.
    parking: ParkingConfig {
        /// Chooses "embedded", on disk; "memory", lost at the end; "redis"; or "none".
        /// Without a parking lot what cannot be finished is answered 503, and nothing is promised.
        /// Durable without a server to install; dispatchers that share a lot need "redis".
        "parking.backend" = "embedded" => backend: ParkingBackend as PARKING_BACKENDS;

        /// Limits how often a parked event is tried before it becomes a dead letter.
        /// A person decides on those. About five minutes with the pauses between; an outage of everything does not count.
        "parking.max_attempts" = "10" => max_attempts: u32 as Integer(1..=1_000);

        /// Limits the longest pause between two tries.
        /// Nobody waits for longer than that once the cause is gone.
        "parking.max_pause" = "1m" => max_pause: Duration as Time;

        /// Sets how long a dispatcher has parked events for itself.
        /// Many times what it needs, and at least six times `dispatch.timeout` and 3 s. When it dies, others go on with
        /// them after that.
        "parking.lease" = "30s" => lease: Duration as Time;

        /// Limits the events that are parked, dead or not; more are answered 503.
        /// Eight minutes of 2,000 events a second.
        "parking.max_parcels" = "1000000" => max_parcels: u64 as Integer(1..=1_000_000_000);

        /// Limits the bytes of the events that are parked; more are answered 503.
        /// As many as events, at 250 bytes each; Redis needs about three times as much memory.
        "parking.max_bytes" = "256MiB" => max_bytes: u64 as Size;

        /// Takes a Redis that forgets what is parked when it stops.
        /// Never: what is answered as parked is promised.
        "parking.allow_volatile" = "false" => allow_volatile: bool as Switch;
    }

    /// Configures the long-term log of finished requests, and what the program says about itself on standard error.
    log: LogConfig {
        /// Chooses "files", on this machine; "kafka"; or "none".
        /// Durable without a server to install.
        "log.backend" = "files" => backend: LogBackend as LOG_BACKENDS;

        /// Names the folder of the log's files.
        /// None: the folder `log` beside the data of the embedded store.
        "log.dir" = "" => dir: Option<PathBuf> as OptionalFile;

        /// Names the folder in which records wait for Kafka, on a lasting disk.
        /// None: the folder `outbox` beside the data of the embedded store.
        "log.outbox_dir" = "" => outbox_dir: Option<PathBuf> as OptionalFile;

        /// Limits the records that wait for Kafka; with more, events are parked.
        /// About twenty minutes of 2,000 events a second.
        "log.max_outbox" = "1GiB" => max_outbox: u64 as Size;

        /// Begins a new file when the last one is as large; finished ones are compressed.
        /// Small enough to copy and to read, and a few thousand a year.
        "log.max_segment" = "64MiB" => max_segment: u64 as Size;

        /// Chooses what is logged: a level, or "info,mini_platform_core=debug".
        /// State changes, nothing for each event.
        "log.level" = "info" => level: String as Text;
    }
}

/// The shortest lease: three heartbeats in it, and a busy machine that delays each of them.
const MIN_LEASE: Duration = Duration::from_secs(1);

/// The longest lease: a member that is gone is found out by its first request, and shown until then.
const MAX_LEASE: Duration = Duration::from_secs(60 * 60);

/// The least that a message of a cluster may have: a batch of the longest events, and some room.
const MIN_MESSAGE: usize = 1 << 20;

/// Demands what must hold beyond the kind of each key, most of it between two.
fn check(config: &Config, reader: &mut Reader) {
    let Config { http, grpc, dispatch, cluster, feeder, s3, .. } = config;
    // An array of one event is never refused where the event alone is taken.
    reader.at_most("http.max_body", "http.max_array", http.max_body <= http.max_array);
    // A full batch never gathers in a queue that is smaller.
    reader.at_most("dispatch.max_batch", "dispatch.queue", dispatch.max_batch <= dispatch.queue);
    // Else the list is too old before the feeder looks again, and readiness flaps.
    reader.at_most("feeder.interval", "feeder.max_age", feeder.interval <= feeder.max_age);
    let (key, secret) = (s3.access_key_id.is_some(), s3.secret_access_key.is_some());
    reader.together("s3.access_key_id", "s3.secret_access_key", key == secret);
    let expected = "at least \"1s\", because a worker that pauses for a moment is no reason to lose it";
    reader.demand("cluster.lease", expected, cluster.lease >= MIN_LEASE);
    let expected = "at most \"1h\", because a member that is gone is shown for so long";
    reader.demand("cluster.lease", expected, cluster.lease <= MAX_LEASE);
    let expected = "at least \"1MiB\", because the largest batch comes close to it";
    reader.demand("grpc.max_message", expected, grpc.max_message >= MIN_MESSAGE);
}

/// Demands that what is chosen was built in.
fn check_build(config: &Config, reader: &mut Reader) {
    let Config { store, adjacency, registry, feeder, .. } = config;
    let mut needs = |key, feature, built, needed: bool| reader.built(key, feature, built || !needed);
    let embedded = cfg!(feature = "embedded");
    needs("store.backend", "embedded", embedded, store.backend == StoreBackend::Embedded);
    needs("adjacency.backend", "embedded", embedded, adjacency.backend == AdjacencyBackend::Embedded);
    needs("registry.backend", "embedded", embedded, registry.backend == RegistryBackend::Embedded);
    needs("store.backend", "mongodb", cfg!(feature = "mongodb"), store.backend == StoreBackend::Mongodb);
    let redis = cfg!(feature = "redis");
    needs("adjacency.backend", "redis", redis, adjacency.backend == AdjacencyBackend::Redis);
    needs("registry.backend", "redis", redis, registry.backend == RegistryBackend::Redis);
    let from_s3 = feeder.source.iter().any(|source| matches!(source, FeedSource::S3 { .. }));
    needs("feeder.source", "s3", cfg!(feature = "s3"), from_s3);
}

/// Demands the same of what a dispatcher has beside its workers.
fn check_dispatching_build(config: &Config, reader: &mut Reader) {
    let Config { parking, log, .. } = config;
    let mut needs = |key, feature, built, needed: bool| reader.built(key, feature, built || !needed);
    let embedded = cfg!(feature = "embedded");
    needs("parking.backend", "embedded", embedded, parking.backend == ParkingBackend::Embedded);
    needs("parking.backend", "redis", cfg!(feature = "redis"), parking.backend == ParkingBackend::Redis);
    needs("log.backend", "kafka", cfg!(feature = "kafka"), log.backend == LogBackend::Kafka);
}

impl Config {
    /// Puts the layers together and checks every value.
    ///
    /// # Errors
    /// All problems of all layers at once.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigProblems> {
        Self::load_for(sources, &[])
    }

    /// Does as [`Config::load`], and checks what somebody needs for what is about to be done.
    ///
    /// # Errors
    /// All problems of all layers at once.
    pub fn load_for(sources: &Sources, needs: &[Need]) -> Result<Loaded, ConfigProblems> {
        let mut reader = Reader::new(sources);
        let config = Self::read(&mut reader);
        if let Some(config) = &config {
            check(config, &mut reader);
            needs.iter().for_each(|need| need.check(config, &mut reader));
            if !needs.contains(&Need::NoBackend) {
                check_build(config, &mut reader);
            }
            if needs.is_empty() || needs.contains(&Need::Dispatching) {
                check_dispatching_build(config, &mut reader);
            }
        }
        let (entries, problems) = reader.finish();
        match config {
            Some(config) if problems.is_empty() => Ok(Loaded { config, entries }),
            _ => Err(ConfigProblems::new(problems)),
        }
    }
}

/// A configuration, and where each of its values was written.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values that are in effect.
    pub config: Config,
    entries: Vec<Entry>,
}

/// How the worker of a batch is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The better of two at random, by latency and load.
    P2cEwma,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastInFlight,
    /// The same one for the same client.
    Rendezvous,
}

/// What keeps events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreBackend {
    /// The store of the process itself, on disk.
    Embedded,
    /// Memory, lost at the end of the process.
    Memory,
    /// MongoDB.
    Mongodb,
}

/// What keeps the links of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdjacencyBackend {
    /// The store of the process itself, on disk.
    Embedded,
    /// Memory, lost at the end of the process.
    Memory,
    /// Redis.
    Redis,
}

/// What keeps the fraud list in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryBackend {
    /// The store of the process itself, on disk.
    Embedded,
    /// Memory, lost at the end of the process.
    Memory,
    /// Redis, which several processes share.
    Redis,
}

/// What keeps events that no worker could finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParkingBackend {
    /// The store of the process itself, on disk.
    Embedded,
    /// Memory, lost at the end of the process.
    Memory,
    /// Redis, which several dispatchers share.
    Redis,
    /// Nothing.
    None,
}

/// What keeps a record of every finished request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogBackend {
    /// Files on this machine.
    Files,
    /// Kafka.
    Kafka,
    /// Nothing.
    None,
}

/// A place that a fraud list is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedSource {
    /// The sample list that is part of the program.
    Bundled,
    /// A file on this machine.
    File(PathBuf),
    /// An object on S3.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key of the object.
        key: String,
    },
}

impl fmt::Display for FeedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

const POLICIES: Choice<Policy> = Choice(&[
    ("p2c_ewma", Policy::P2cEwma),
    ("round_robin", Policy::RoundRobin),
    ("least_in_flight", Policy::LeastInFlight),
    ("rendezvous", Policy::Rendezvous),
]);

const STORE_BACKENDS: Choice<StoreBackend> = Choice(&[
    ("embedded", StoreBackend::Embedded),
    ("memory", StoreBackend::Memory),
    ("mongodb", StoreBackend::Mongodb),
]);

const ADJACENCY_BACKENDS: Choice<AdjacencyBackend> = Choice(&[
    ("embedded", AdjacencyBackend::Embedded),
    ("memory", AdjacencyBackend::Memory),
    ("redis", AdjacencyBackend::Redis),
]);

const REGISTRY_BACKENDS: Choice<RegistryBackend> = Choice(&[
    ("embedded", RegistryBackend::Embedded),
    ("memory", RegistryBackend::Memory),
    ("redis", RegistryBackend::Redis),
]);

const PARKING_BACKENDS: Choice<ParkingBackend> = Choice(&[
    ("embedded", ParkingBackend::Embedded),
    ("memory", ParkingBackend::Memory),
    ("redis", ParkingBackend::Redis),
    ("none", ParkingBackend::None),
]);

const LOG_BACKENDS: Choice<LogBackend> =
    Choice(&[("files", LogBackend::Files), ("kafka", LogBackend::Kafka), ("none", LogBackend::None)]);

const PARTIES: Choice<ScreenedParties> =
    Choice(&[("brief", ScreenedParties::Brief), ("both", ScreenedParties::Both)]);

const MATCH_MODES: Choice<MatchMode> =
    Choice(&[("normalized", MatchMode::Normalized), ("exact", MatchMode::Exact)]);

const LIST_FORMATS: Choice<ListFormat> = Choice(&[
    ("auto", ListFormat::Auto),
    ("text", ListFormat::Text),
    ("csv", ListFormat::Csv),
    ("ofac-sdn", ListFormat::OfacSdn),
    ("opensanctions", ListFormat::OpenSanctions),
]);

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = include_str!("../../config/mini-platform.toml");

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn load(
        file: &str,
        variables: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Loaded, ConfigProblems> {
        let file = Some(("mini-platform.toml".into(), file.to_owned()));
        Config::load(&Sources {
            file,
            environment: owned(variables),
            flags: owned(flags),
            ..Sources::default()
        })
    }

    fn problems(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
        let problems = load(file, variables, flags).expect_err("the configuration must be refused");
        problems.as_slice().iter().map(ToString::to_string).collect()
    }

    fn defaults() -> Loaded {
        Config::load(&Sources::default()).expect("the defaults are valid")
    }

    #[test]
    fn a_later_layer_wins() {
        let file = "[http]\nmax_body = '1KiB'\nmax_line = '1KiB'\nmax_array = '1MiB'";
        let variables =
            [("MINI_PLATFORM__HTTP__MAX_LINE", "2KiB"), ("MINI_PLATFORM__HTTP__MAX_ARRAY", "2MiB")];
        let flags = [("http.max_array", "3MiB"), ("http.max_array", "4MiB")];
        let http = load(file, &variables, &flags).expect("all values are valid").config.http;
        assert_eq!((http.max_body, http.max_line, http.max_array), (1 << 10, 2 << 10, 4 << 20));
        assert_eq!(http.header_timeout, Duration::from_secs(10), "what no layer sets keeps its default");
    }

    #[test]
    fn all_problems_of_all_layers_are_reported_at_once() {
        let file = "[http]\nlisten = 'here'\n\n[dispatch]\npolicy = 'random'\nmax_batch = 2000\n";
        let variables =
            [("MINI_PLATFORM__FEEDER__INTERVAL", "0s"), ("MINI_PLATFORM__EVENTS__DEFAULT_CURRENCY", "XXZ")];
        let flags = [("feeder.source", "bundled,s3://bucket"), ("feeder.max_shrink", "1.5")];
        assert_eq!(
            problems(file, &variables, &flags),
            [
                r#"file mini-platform.toml line 2: http.listen: expected an IP address and a port such as "127.0.0.1:8080", found 'here'"#,
                r#"file mini-platform.toml line 5: dispatch.policy: expected "p2c_ewma" or "round_robin" or "least_in_flight" or "rendezvous", found 'random'"#,
                "file mini-platform.toml line 6: dispatch.max_batch: expected a whole number from 1 to 1024, found 2000",
                r#"environment MINI_PLATFORM__EVENTS__DEFAULT_CURRENCY: events.default_currency: expected an ISO 4217 code such as "CZK", found "XXZ""#,
                r#"environment MINI_PLATFORM__FEEDER__INTERVAL: feeder.interval: expected a duration above zero, and at most 100 years, such as "250ms" or "30s", found "0s""#,
                r#"flag --set: feeder.source: expected "none", or a list of "bundled", "file:PATH" or "s3://BUCKET/KEY", found "bundled,s3://bucket""#,
                "flag --set: feeder.max_shrink: expected a number from 0 to 1, found \"1.5\"",
            ]
        );
    }

    #[test]
    fn a_wrong_value_is_a_problem_even_where_another_layer_wins() {
        let variables = [("MINI_PLATFORM__HTTP__LISTEN", "127.0.0.1:1")];
        assert_eq!(problems("http.listen = 'here'", &variables, &[]).len(), 1);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let file = "[http]\nlisen = 1\n[server]\nmax_age = 1\n[feeder.csv]\ncolumn = 1\n";
        let variables =
            [("MINI_PLATFORM__HTTP__MAX__BODY", "1KiB"), ("MINI_PLATFORM_OTHER", "x"), ("PATH", "x")];
        assert_eq!(
            problems(file, &variables, &[("embeded.dir", "x")]),
            [
                "file mini-platform.toml line 2: http.lisen is not a known key, the nearest is http.listen",
                "file mini-platform.toml line 4: server.max_age is not a known key, the nearest is feeder.max_age",
                "file mini-platform.toml line 5: feeder.csv is not a known key, the nearest is feeder.listen",
                "environment MINI_PLATFORM__HTTP__MAX__BODY: http.max.body is not a known key, the nearest is http.max_body",
                "flag --set: embeded.dir is not a known key, the nearest is embedded.dir",
            ]
        );
    }

    #[test]
    fn a_syntax_error_is_one_problem_beside_those_of_other_layers() {
        let found = problems("[http]\nlisten = \"a\"\nmax_body == 3\n", &[], &[("log.level", " ")]);
        let [syntax, flag] = found.as_slice() else { panic!("two problems, got {found:#?}") };
        assert!(syntax.starts_with("file mini-platform.toml line 3 column 11: not valid TOML: "), "{syntax}");
        assert_eq!(flag, r#"flag --set: log.level: expected text that is not blank, found " ""#);
    }

    #[test]
    fn rules_between_keys_name_both_origins() {
        let file = "[http]\nmax_array = '1KiB'\n[dispatch]\nmax_batch = 9\n";
        let variables = [("MINI_PLATFORM__DISPATCH__QUEUE", "8")];
        assert_eq!(
            problems(file, &variables, &[("feeder.max_age", "29s"), ("log.level", "")]),
            [
                r#"default: http.max_body: expected at most http.max_array, which is "1KiB" (file mini-platform.toml line 2), found "64KiB""#,
                r#"default: feeder.interval: expected at most feeder.max_age, which is "29s" (flag --set), found "30s""#,
                "file mini-platform.toml line 4: dispatch.max_batch: expected at most dispatch.queue, which is 8 \
             (environment MINI_PLATFORM__DISPATCH__QUEUE), found 9",
                r#"flag --set: log.level: expected text that is not blank, found """#,
            ]
        );
        assert!(load("dispatch = { max_batch = 9, queue = 9 }", &[], &[]).is_ok(), "equal is allowed");
    }

    #[test]
    fn a_rule_is_not_checked_on_a_key_that_is_in_doubt() {
        assert_eq!(problems("dispatch = { max_batch = 'many', queue = 1 }", &[], &[]).len(), 1);
        assert_eq!(problems("dispatch = { max_batch = 1", &[], &[("dispatch.queue", "1")]).len(), 1);
    }

    #[test]
    fn a_list_is_an_array_or_text_with_commas() {
        let expected = [FeedSource::Bundled, FeedSource::File("a b.txt".into())];
        for file in ["source = ['bundled', 'file:a b.txt']", "source = 'bundled, file:a b.txt'"] {
            let loaded = load(&format!("[feeder]\n{file}"), &[], &[]).expect(file);
            assert_eq!(loaded.config.feeder.source, expected, "{file}");
        }
        let flag =
            load("", &[], &[("feeder.source", "bundled,file:a b.txt")]).expect("a flag is a list, too");
        assert_eq!(flag.config.feeder.source, expected);
    }

    #[test]
    fn printed_toml_loads_to_the_same_configuration() {
        let file = "[feeder]\nsource = ['file:a,\"b\".csv', 'bundled']\ninterval = '1m 30s'\nmax_shrink = 1\n\
                    [embedded]\ndir = 'C:\\temp # 1'\ncache = '3GiB'\n[http]\nlisten = '[::1]:0'\n";
        let variables =
            [("MINI_PLATFORM__SCREENING__MATCH", "exact"), ("MINI_PLATFORM__S3__FORCE_PATH_STYLE", "true")];
        let loaded = load(file, &variables, &[("feeder.format", "ofac-sdn")]).expect("all values are valid");
        let again = load(&loaded.to_toml(), &[], &[]).expect("what is printed is valid");
        assert_eq!(again.config, loaded.config);
        assert_ne!(again.config, defaults().config);
    }

    #[test]
    fn secrets_are_not_printed_unless_they_are_the_public_default() {
        let uri = "mongodb://ann:hunter2@db/";
        let flags = [
            ("mongodb.uri", uri),
            ("s3.access_key_id", "AK"),
            ("s3.secret_access_key", "hunter2"),
            ("cluster.token", "hunter2"),
        ];
        let loaded = load("", &[], &flags).expect("all values are valid");
        assert_eq!(loaded.config.mongodb.uri.expose(), uri);
        for text in [loaded.to_toml(), loaded.to_commented_toml(), format!("{loaded:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(loaded.to_toml().contains("url = \"redis://127.0.0.1:6379\"  # default"));
    }

    #[test]
    fn an_access_key_needs_its_secret() {
        assert_eq!(
            problems("", &[], &[("s3.access_key_id", "AK")]),
            [
                "default: s3.secret_access_key: expected a value, because s3.access_key_id has one (flag --set), found \"\""
            ]
        );
        assert_eq!(
            problems("", &[], &[("s3.secret_access_key", "hunter2")]),
            [
                "default: s3.access_key_id: expected a value, because s3.secret_access_key has one (flag --set), found \"\""
            ]
        );
    }

    #[test]
    fn a_backend_that_is_not_built_in_names_its_feature() {
        let chosen = [
            ("store.backend", "mongodb", "mongodb", cfg!(feature = "mongodb")),
            ("adjacency.backend", "redis", "redis", cfg!(feature = "redis")),
            ("registry.backend", "redis", "redis", cfg!(feature = "redis")),
            ("feeder.source", "s3://bucket/key", "s3", cfg!(feature = "s3")),
            ("parking.backend", "redis", "redis", cfg!(feature = "redis")),
            ("log.backend", "kafka", "kafka", cfg!(feature = "kafka")),
        ];
        for (key, value, feature, built) in chosen {
            let found = load("", &[], &[(key, value)]).map(|_| ()).map_err(|problems| problems.to_string());
            if built {
                assert_eq!(found, Ok(()), "{key}");
            } else {
                let problem = found.expect_err("it is not built in");
                assert!(problem.contains(&format!("flag --set: {key}: ")), "{problem}");
                assert!(problem.contains(&format!("--features {feature}")), "{problem}");
            }
        }
    }

    #[test]
    fn what_a_program_needs_is_a_problem_like_others() {
        let load = |flags: &[(&str, &str)], needs: &[Need]| {
            let sources = Sources { flags: owned(flags), ..Sources::default() };
            Config::load_for(&sources, needs).map(|_| ()).map_err(|problems| problems.to_string())
        };
        let needs = [Need::Source, Need::SharedRegistry];
        let found = load(&[("feeder.source", "none"), ("log.level", "")], &needs)
            .expect_err("two needs, one mistake");
        assert!(found.starts_with("3 problems"), "{found}");
        assert!(found.contains("default: registry.backend: expected \"redis\", because"), "{found}");
        assert!(found.contains("flag --set: feeder.source: expected at least one source"), "{found}");
        let memory =
            [("store.backend", "memory"), ("adjacency.backend", "memory"), ("registry.backend", "memory")];
        let found =
            load(&memory, &[Need::LastingStores, Need::LastingRegistry]).expect_err("three in memory");
        assert!(found.starts_with("3 problems"), "{found}");
        if cfg!(feature = "embedded") {
            assert_eq!(load(&[], &[Need::Source, Need::LastingStores, Need::LastingRegistry]), Ok(()));
        }
    }

    #[test]
    fn a_program_may_have_other_defaults_which_are_shown() {
        let sources = |flags: &[(&str, &str)]| {
            let sources = Sources { flags: owned(flags), ..Sources::default() };
            Config::load(&sources.with_defaults(&[("grpc.listen", "127.0.0.1:1")])).expect("all is valid")
        };
        let loaded = sources(&[]);
        assert_eq!(loaded.config.grpc.listen.port(), 1);
        assert!(loaded.to_toml().contains("listen = \"127.0.0.1:1\"  # default"), "{}", loaded.to_toml());
        assert_eq!(sources(&[("grpc.listen", "[::1]:2")]).config.grpc.listen.port(), 2);
    }

    #[test]
    fn who_uses_no_backend_may_have_one_configured_that_is_not_built_in() {
        let flags = owned(&[("store.backend", "mongodb"), ("registry.backend", "redis")]);
        let sources = Sources { flags, ..Sources::default() };
        assert!(Config::load_for(&sources, &[Need::NoBackend]).is_ok());
    }

    #[test]
    fn a_worker_needs_shared_stores_and_an_address_to_dial() {
        let load = |flags: &[(&str, &str)]| {
            let sources = Sources { flags: owned(flags), ..Sources::default() };
            let needs = [Need::SharedStores, Need::Address, Need::NoBackend];
            let problems = Config::load_for(&sources, &needs).err();
            problems.map_or(Vec::new(), |all| all.as_slice().iter().map(ToString::to_string).collect())
        };
        let keys = ["store.backend", "adjacency.backend", "registry.backend"];
        let found = load(&[]);
        assert_eq!(found.len(), 3, "{found:#?}");
        for (problem, key) in found.iter().zip(keys) {
            assert!(problem.starts_with(&format!("default: {key}: expected \"")), "{problem}");
        }
        let shared =
            [("store.backend", "mongodb"), ("adjacency.backend", "redis"), ("registry.backend", "redis")];
        assert_eq!(load(&shared), [] as [&str; 0]);
        let open = [&shared[..], &[("grpc.listen", "[::]:9082")]].concat();
        let [problem] = load(&open).try_into().expect("one problem");
        assert!(
            problem.contains("cluster.advertise: expected an address that dispatchers can dial"),
            "{problem}"
        );
        assert!(problem.contains("[::]:9082 (grpc.listen)"), "{problem}");
        let told = [&open[..], &[("cluster.advertise", "http://w-1:9082")]].concat();
        assert_eq!(load(&told), [] as [&str; 0]);
    }

    #[test]
    fn a_lease_leaves_time_for_heartbeats() {
        assert_eq!(
            load("", &[], &[("cluster.lease", "1s")]).map(|loaded| loaded.config.cluster.lease),
            Ok(MIN_LEASE)
        );
        let found = problems("", &[], &[("cluster.lease", "999ms")]);
        assert!(found[0].contains("cluster.lease: expected at least \"1s\""), "{found:?}");
        let found = problems("", &[], &[("cluster.lease", "2h")]);
        assert!(found[0].contains("cluster.lease: expected at most \"1h\""), "{found:?}");
    }

    #[test]
    fn every_batch_fits_into_a_message() {
        let found = problems("", &[], &[("grpc.max_message", "64KiB")]);
        assert!(found[0].contains("grpc.max_message: expected at least \"1MiB\""), "{found:?}");
    }

    #[test]
    fn no_source_at_all_is_said_by_name() {
        let loaded = load("", &[], &[("feeder.source", "none")]).expect("no source");
        assert_eq!(loaded.config.feeder.source, []);
        assert!(loaded.to_toml().contains("source = [\"none\"]"), "{}", loaded.to_toml());
        assert_eq!(problems("", &[], &[("feeder.source", "none,bundled")]).len(), 1);
    }

    #[test]
    fn printed_toml_names_the_origin_of_each_value() {
        let variables = [("MINI_PLATFORM__HTTP__MAX_BODY", "1KiB")];
        let printed = load("[http]\nlisten = '[::1]:80'", &variables, &[("http.max_line", "2KiB")]);
        let printed = printed.expect("all values are valid").to_toml();
        let lines: Vec<_> = printed.lines().take(5).collect();
        assert_eq!(
            lines,
            [
                "[http]",
                r#"listen = "[::1]:80"  # file mini-platform.toml line 2"#,
                r#"max_body = "1KiB"  # environment MINI_PLATFORM__HTTP__MAX_BODY"#,
                r#"max_line = "2KiB"  # flag --set"#,
                r#"max_array = "16MiB"  # default"#,
            ]
        );
    }

    #[test]
    fn the_name_of_a_file_cannot_leave_its_comment() {
        let file = Some(("a\n[evil]\nx = 1".into(), "log.level = 'debug'".to_owned()));
        let loaded = Config::load(&Sources { file, ..Sources::default() }).expect("all values are valid");
        assert!(load(&loaded.to_toml(), &[], &[]).is_ok(), "{}", loaded.to_toml());
    }

    #[test]
    fn the_commented_file_is_that_of_the_defaults() {
        assert_eq!(COMMITTED, defaults().to_commented_toml(), "run `the_commented_file_is_written_anew`");
    }

    #[test]
    fn the_commented_file_sets_every_key_and_changes_nothing() {
        let loaded = load(COMMITTED, &[], &[]).expect("the commented file is valid");
        assert_eq!(loaded.config, defaults().config);
        for entry in &loaded.entries {
            assert!(matches!(entry.origin, Origin::File { .. }), "{} must be in the file", entry.key.path);
        }
    }

    #[test]
    #[ignore = "writes into the source tree: cargo test -p mini-platform-bins --lib -- --ignored"]
    fn the_commented_file_is_written_anew() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/mini-platform.toml");
        std::fs::write(path, defaults().to_commented_toml()).expect("the source tree is writable");
    }

    #[test]
    fn every_list_format_has_its_own_name() {
        assert_eq!(LIST_FORMATS.0, ListFormat::ALL.map(|format| (format.as_str(), format)));
    }

    #[test]
    fn every_key_says_its_meaning_and_the_reason_of_its_default() {
        for Entry { key, .. } in defaults().entries {
            assert!(key.help.len() >= 2, "{} needs a meaning and a reason", key.path);
            let first = key.help[0].trim();
            assert!(first.len() < 80 && first.ends_with('.'), "{}: {first}", key.path);
        }
    }
}
