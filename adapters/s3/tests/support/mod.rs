//! Servers to ask, and buckets to publish to.

use std::any::Any;
use std::hash::{BuildHasher, Hasher, RandomState};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use mini_platform_core::testkit::server;
use mini_platform_s3::{S3Client, S3Config, S3Location, S3Source};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const REGION: &str = "us-east-1";

/// The key that every publisher uses.
pub(crate) const KEY: &str = "lists/fraud list.txt";

/// An S3 server and an access key that it knows.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Server {
    pub(crate) fn config(&self) -> S3Config {
        S3Config::new(REGION)
            .with_endpoint(&self.endpoint)
            .with_credentials(&self.id, &self.secret)
            .with_path_style(true)
    }

    pub(crate) async fn source(&self, location: S3Location) -> S3Source {
        S3Source::new(&S3Client::connect(&self.config()).await.unwrap(), location)
    }
}

/// Returns the shared server that knows conditions and versions, if there is one.
pub(crate) fn moto() -> Option<Server> {
    let url = server::url("S3")?;
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (userinfo, host) = rest.rsplit_once('@').expect("credentials before the host");
    let (id, secret) = userinfo.split_once(':').expect("an access key");
    Some(Server { endpoint: format!("{scheme}://{host}"), id: id.to_owned(), secret: secret.to_owned() })
}

/// Starts a server of our own, which checks signatures and knows neither conditions nor versions.
pub(crate) async fn in_process() -> (Server, impl Any + Send + Sync) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server { endpoint: String::new(), id: "example".to_owned(), secret: "geheim".to_owned() };
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
    service.set_auth(SimpleAuth::from_single(server.id.clone(), server.secret.clone()));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            connections.spawn(async move {
                let http = auto::Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (Server { endpoint, ..server }, (tasks, folder))
}

/// A bucket of its own on a server, and one who publishes to it.
pub(crate) struct Bucket {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Bucket {
    pub(crate) async fn new(server: &Server) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(Region::new(REGION))
            .endpoint_url(&server.endpoint)
            .credentials_provider(Credentials::new(&server.id, &server.secret, None, None, "test"))
            .force_path_style(true);
        let name = format!("mini-platform-{:016x}", RandomState::new().build_hasher().finish());
        let client = Client::from_conf(config.build());
        Box::pin(client.create_bucket().bucket(&name).send()).await.unwrap();
        Self { client, name }
    }

    pub(crate) async fn publish(&self, content: &[u8]) {
        let body = ByteStream::from(content.to_vec());
        Box::pin(self.client.put_object().bucket(&self.name).key(KEY).body(body).send()).await.unwrap();
    }

    pub(crate) fn location(&self) -> S3Location {
        S3Location::new(&self.name, KEY).unwrap()
    }
}
