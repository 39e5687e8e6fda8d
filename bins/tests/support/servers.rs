//! Where the real servers are, and a corner of each for one test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use mini_platform_core::testkit::server;
use uuid::Uuid;

/// A little longer than that, so that the next one has begun.
pub(crate) const SECOND: Duration = Duration::from_millis(1_050);

/// MongoDB, Redis and S3, and names on them that no other test uses.
pub(crate) struct Servers {
    mongodb: String,
    redis: String,
    s3: String,
    name: String,
}

impl Servers {
    /// Finds the servers; `None` when there are none and none are required.
    pub(crate) fn find() -> Option<Self> {
        let (mongodb, redis, s3) = (server::url("MONGODB")?, server::url("REDIS")?, server::url("S3")?);
        let name = format!("test-{}", Uuid::now_v7().simple());
        let servers = Self { mongodb, redis, s3, name };
        servers.put(&servers.name, &[]);
        Some(servers)
    }

    /// Uses another Redis.
    pub(crate) fn on_redis(mut self, url: String) -> Self {
        self.redis = url;
        self
    }

    /// Returns the settings of a program on these servers.
    pub(crate) fn settings(&self) -> Vec<String> {
        let Self { mongodb, redis, s3, name } = self;
        let (key, secret) = self.s3_login();
        let endpoint = without_login(s3);
        vec![
            "store.backend=mongodb".to_owned(),
            "adjacency.backend=redis".to_owned(),
            "registry.backend=redis".to_owned(),
            "parking.backend=redis".to_owned(),
            "registry.max_staleness=500ms".to_owned(),
            format!("mongodb.uri={mongodb}"),
            format!("mongodb.database={name}"),
            format!("redis.url={redis}"),
            format!("redis.key_prefix={name}"),
            format!("s3.endpoint={endpoint}"),
            format!("s3.access_key_id={key}"),
            format!("s3.secret_access_key={secret}"),
            "s3.force_path_style=true".to_owned(),
            format!("feeder.source={}", self.source()),
            "feeder.interval=100ms".to_owned(),
            "feeder.listen=127.0.0.1:0".to_owned(),
            // A busy machine is no reason to fail.
            "dispatch.timeout=30s".to_owned(),
        ]
    }

    /// Returns the name that is this test's own: of the database, the key prefix and the bucket.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns where the fraud list of this test is.
    pub(crate) fn source(&self) -> String {
        format!("s3://{}/lists/list.csv", self.name)
    }

    /// Uploads a fraud list.
    pub(crate) fn upload(&self, content: impl AsRef<[u8]>) {
        self.put(&format!("{}/lists/list.csv", self.name), content.as_ref());
    }

    /// Uploads a fraud list in a later second: S3 tells the time of an upload to the second.
    pub(crate) fn upload_later(&self, content: impl AsRef<[u8]>) {
        std::thread::sleep(SECOND);
        self.upload(content);
    }

    /// Returns the arguments of `curl` that put what is on its standard input into S3.
    pub(crate) fn curl(&self, path: &str) -> Vec<String> {
        let endpoint = without_login(&self.s3);
        let (key, secret) = self.s3_login();
        ["-sSf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{key}:{secret}"), "-X", "PUT"]
            .into_iter()
            .chain(["-H", "content-type: text/plain", "--data-binary", "@-", &format!("{endpoint}/{path}")])
            .map(str::to_owned)
            .collect()
    }

    fn put(&self, path: &str, content: &[u8]) {
        let mut curl = Command::new("curl")
            .args(self.curl(path))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        curl.stdin.take().unwrap().write_all(content).unwrap();
        assert!(curl.wait().unwrap().success(), "{path} is uploaded");
    }

    fn s3_login(&self) -> (&str, &str) {
        let login = self.s3.strip_prefix("http://").unwrap().split_once('@').unwrap().0;
        login.split_once(':').unwrap()
    }
}

fn without_login(url: &str) -> String {
    let (_, host) = url.split_once('@').unwrap();
    format!("http://{}", host.trim_end_matches('/'))
}

/// Sends a Redis server one command without arguments.
pub(crate) fn redis_command(port: u16, command: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n", "{command}");
}
