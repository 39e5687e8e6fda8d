//! One connection that all calls share, made again after it broke.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mini_platform_core::error::Fault;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, Pipeline, RedisError,
    RedisResult, TlsCertificates, TlsMode, Value,
};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::RedisConfig;
use crate::error::Failure;
use crate::place::{Place, tcp_settings};

/// How often the driver follows a cluster that moves or repairs its slots, within the timeout of the command.
///
/// A command meets one redirection in a stable cluster and two when a slot is moving; more than a few only
/// hide that the cluster is down.
const CLUSTER_REDIRECTIONS: u32 = 4;

/// The pause before the driver asks a cluster again that is repairing itself, in milliseconds, at least and at
/// most: short beside a timeout.
const CLUSTER_PAUSE_MS: (u64, u64) = (20, 200);

/// The longest silence after which a connection is kept whose caller gives up: far more than a command takes, and well
/// within the second that a dispatcher waits for a worker or the parking lot.
const LONGEST_SILENCE: Duration = Duration::from_millis(500);

/// A connection to Redis that all callers share. A clone costs a reference count.
///
/// Commands of many callers are pipelined over one socket a node. A command whose connection breaks fails, as
/// nobody knows whether it took effect; the next one connects anew, and behind Sentinels looks the master up.
/// So it is when a caller gives up on a command that went without an answer for a quarter of the timeout, or for half a
/// second: the connection may be dead. Who gives up sooner says nothing about it.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Shared>);

struct Shared {
    place: Place,
    timeout: Duration,
    ca_certificate: Option<Vec<u8>>,
    sentinel_login: Option<(String, String)>,
    live: Mutex<Option<Live>>,
    /// Held while connecting, so that a hundred callers make one connection.
    connecting: Arc<tokio::sync::Mutex<()>>,
    next_number: AtomicU64,
}

#[derive(Clone)]
pub(crate) struct Live {
    /// Tells a connection from the one after it.
    number: u64,
    link: Link,
}

/// An open connection to one server, or to the nodes of a cluster.
#[derive(Clone)]
pub(crate) enum Link {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    pub(crate) async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Node(node) => command.query_async(node).await,
            Self::Cluster(cluster) => command.query_async(cluster).await,
        }
    }

    /// Asks the server, or every master of the cluster.
    async fn query_masters<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<Vec<T>> {
        let read = |answer: Value| Ok(redis::from_redis_value(answer.extract_error()?)?);
        match self {
            Self::Node(node) => Ok(vec![read(command.query_async(node).await?)?]),
            Self::Cluster(cluster) => {
                let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match cluster.route_command(command.clone(), masters).await? {
                    Value::Map(answers) => answers.into_iter().map(|(_, answer)| read(answer)).collect(),
                    answer => Ok(vec![read(answer)?]),
                }
            }
        }
    }

    async fn query_all<T: FromRedisValue>(&mut self, pipeline: &Pipeline) -> RedisResult<T> {
        match self {
            Self::Node(node) => pipeline.query_async(node).await,
            Self::Cluster(cluster) => pipeline.query_async(cluster).await,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("addresses", &self.0.place.addresses()).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(place: Place, config: &RedisConfig) -> Self {
        Self(Arc::new(Shared {
            place,
            timeout: config.timeout,
            ca_certificate: config.ca_certificate.clone(),
            sentinel_login: config.sentinel_login.clone(),
            live: Mutex::new(None),
            connecting: Arc::default(),
            next_number: AtomicU64::new(0),
        }))
    }

    /// Whether keys of different hash tags may lie on different nodes, so that a pipeline must keep to one tag.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.0.place, Place::Cluster(_))
    }

    /// The addresses as a person knows them, without any login.
    pub(crate) fn addresses(&self) -> String {
        self.0.place.addresses()
    }

    /// Sends one command, and answers within the timeout.
    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<T, Fault> {
        self.try_command(command).await.map_err(|failure| failure.during(operation))
    }

    /// Sends commands in one round trip, and answers all or, when any failed, the error of the first that did.
    /// The timeout is that of one command. On a cluster all keys must lie in one slot.
    pub(crate) async fn pipeline<T: FromRedisValue>(
        &self,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, Fault> {
        self.try_pipeline(pipeline).await.map_err(|failure| failure.during(operation))
    }

    /// Like [`Connection::command`], for callers that look at the failure.
    pub(crate) async fn try_command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        self.run(async |link| link.query(command).await).await
    }

    /// Like [`Connection::pipeline`], for callers that look at the failure.
    pub(crate) async fn try_pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, Failure> {
        self.run(async |link| link.query_all(pipeline).await).await
    }

    /// Sends a command without keys to the server, or to every master of the cluster, and returns what each answers.
    pub(crate) async fn ask_masters<T: FromRedisValue>(&self, command: &Cmd) -> Result<Vec<T>, Failure> {
        self.run(async |link| link.query_masters(command).await).await
    }

    async fn run<T>(&self, ask: impl AsyncFnOnce(&mut Link) -> RedisResult<T>) -> Result<T, Failure> {
        let deadline = Instant::now() + self.0.timeout;
        let mut live = timeout_at(deadline, self.live()).await.map_err(|_| Failure::Timeout)??;
        let mut silence = Silence::new(self, live.number);
        let answer = match timeout_at(deadline, ask(&mut live.link)).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_) => Err(Failure::Timeout),
        };
        silence.is_over = true;
        if answer.as_ref().is_err_and(Failure::ends_connection) {
            self.forget(live.number);
        }
        answer
    }

    async fn live(&self) -> Result<Live, Failure> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let connecting = Arc::clone(&self.0.connecting).lock_owned().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let connection = self.clone();
        // A task, which goes on to its end for the next caller when this one gives up: else callers in a hurry would
        // begin again and again, and never connect by way of a Sentinel that hangs.
        let attempt = tokio::spawn(async move {
            let _connecting = connecting;
            let link =
                timeout(connection.0.timeout, connection.open()).await.map_err(|_| Failure::Timeout)?;
            Ok(connection.keep(link?))
        });
        attempt.await.unwrap_or(Err(Failure::Internal("connecting was broken off")))
    }

    fn current(&self) -> Option<Live> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a link the one that all callers use.
    pub(crate) fn keep(&self, link: Link) -> Live {
        let live = Live { number: self.0.next_number.fetch_add(1, Ordering::Relaxed), link };
        *self.0.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
        live
    }

    fn forget(&self, number: u64) {
        let mut live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.number == number) {
            *live = None;
        }
    }

    /// Connects to the server, the cluster, or the master that the Sentinels name.
    pub(crate) async fn open(&self) -> RedisResult<Link> {
        match &self.0.place {
            Place::Server(_) | Place::Sentinel { .. } => self.open_node().await.map(Link::Node),
            Place::Cluster(nodes) => self.open_cluster(nodes).await.map(Link::Cluster),
        }
    }

    /// Connects to one server: of a cluster, the first that answers.
    pub(crate) async fn open_node(&self) -> RedisResult<MultiplexedConnection> {
        match &self.0.place {
            Place::Server(node) => open_client(Client::open((**node).clone())?).await,
            Place::Sentinel { .. } => {
                let mut sentinels = self.sentinels()?;
                open_client(sentinels.async_get_client().await?).await
            }
            Place::Cluster(nodes) => open_first(nodes).await,
        }
    }

    async fn open_cluster(&self, nodes: &[ConnectionInfo]) -> RedisResult<ClusterConnection> {
        let (shortest, longest) = CLUSTER_PAUSE_MS;
        let mut builder = ClusterClientBuilder::new(nodes.iter().cloned())
            .tcp_settings(tcp_settings())
            .connection_timeout(self.0.timeout)
            .response_timeout(self.0.timeout)
            .retries(CLUSTER_REDIRECTIONS)
            .min_retry_wait(shortest)
            .max_retry_wait(longest);
        if let Some(trusted) = self.trusted() {
            builder = builder.certs(trusted);
        }
        builder.build()?.get_async_connection().await
    }

    fn sentinels(&self) -> RedisResult<SentinelClient> {
        let Place::Sentinel { sentinels, master, settings } = &self.0.place else {
            return Err((redis::ErrorKind::InvalidClientConfig, "no Sentinels are set").into());
        };
        let kind = SentinelServerType::Master;
        let mut builder = SentinelClientBuilder::new(sentinels.iter().cloned(), master, kind)?
            .set_client_to_redis_tcp_settings(tcp_settings())
            .set_client_to_redis_db(settings.redis_settings().db());
        if let Some(user) = settings.redis_settings().username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = settings.redis_settings().password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some((user, password)) = &self.0.sentinel_login {
            builder = builder.set_client_to_sentinel_username(user).set_client_to_sentinel_password(password);
        }
        if matches!(settings.addr(), ConnectionAddr::TcpTls { .. }) {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            if let Some(trusted) = self.trusted() {
                builder = builder.set_client_to_redis_certificates(trusted);
            }
        }
        builder.build()
    }

    fn trusted(&self) -> Option<TlsCertificates> {
        let pem = self.0.ca_certificate.clone()?;
        Some(TlsCertificates { client_tls: None, root_cert: Some(pem) })
    }
}

/// A wait for an answer, from the question on.
///
/// When it ends without one because the caller gives up, nobody sees the timeout that would end a dead connection, so
/// that is done here.
struct Silence<'a> {
    connection: &'a Connection,
    number: u64,
    since: Instant,
    is_over: bool,
}

impl<'a> Silence<'a> {
    fn new(connection: &'a Connection, number: u64) -> Self {
        Self { connection, number, since: Instant::now(), is_over: false }
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let longest = (self.connection.0.timeout / 4).min(LONGEST_SILENCE);
        if !self.is_over && self.since.elapsed() >= longest {
            self.connection.forget(self.number);
        }
    }
}

async fn open_first(nodes: &[ConnectionInfo]) -> RedisResult<MultiplexedConnection> {
    let mut failed = RedisError::from((redis::ErrorKind::InvalidClientConfig, "no nodes are set"));
    for node in nodes {
        match open_client(Client::open(node.clone())?).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn open_client(client: Client) -> RedisResult<MultiplexedConnection> {
    // Every caller's own timeout bounds both, so that none of them is shorter than what was asked for.
    let unbounded = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&unbounded).await
}
