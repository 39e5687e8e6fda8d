//! What can be set.

use std::fmt;
use std::time::Duration;

use http::Uri;

use crate::error::ConfigError;

/// How long to wait for an answer, and for each further piece of it, unless another time is set.
///
/// S3 answers within milliseconds; a network that is silent for so long has lost the connection.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest name of a region. No provider comes near it.
const MAX_REGION_BYTES: usize = 63;

/// Where S3 is, and who asks.
#[derive(Clone)]
pub struct S3Config {
    region: String,
    endpoint: String,
    credentials: Option<Key>,
    path_style: bool,
    timeout: Duration,
}

/// An access key.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl S3Config {
    /// Asks Amazon's S3 in a region, with the credentials that the environment gives.
    ///
    /// What does not speak Amazon's regions takes any name, often `us-east-1`.
    #[must_use]
    pub fn new(region: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            endpoint: String::new(),
            credentials: None,
            path_style: false,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Asks another server than Amazon's, such as `http://127.0.0.1:9000`; an empty text means Amazon's.
    #[must_use]
    pub fn with_endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = url.into();
        self
    }

    /// Sets the access key, in the place of what the environment gives.
    #[must_use]
    pub fn with_credentials(
        mut self,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
    ) -> Self {
        self.credentials = Some(Key { id: access_key_id.into(), secret: secret_access_key.into() });
        self
    }

    /// Sets whether the bucket is a part of the path, as most servers but Amazon's want it, or of the host name.
    #[must_use]
    pub fn with_path_style(mut self, path_style: bool) -> Self {
        self.path_style = path_style;
        self
    }

    /// Sets how long to wait for a connection, for the answer to a request, and for each further piece of it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn endpoint(&self) -> Option<&str> {
        Some(self.endpoint.as_str()).filter(|url| !url.is_empty())
    }

    pub(crate) fn credentials(&self) -> Option<&Key> {
        self.credentials.as_ref()
    }

    pub(crate) fn path_style(&self) -> bool {
        self.path_style
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check_region(&self.region)?;
        self.endpoint().map_or(Ok(()), check_endpoint)?;
        self.credentials().map_or(Ok(()), Key::check)?;
        if self.timeout.is_zero() { Err(ConfigError::Timeout) } else { Ok(()) }
    }
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint().map(without_userinfo))
            .field("credentials", &self.credentials.as_ref().map(|_| "<redacted>"))
            .field("path_style", &self.path_style)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Key {
    fn check(&self) -> Result<(), ConfigError> {
        match (self.id.is_empty(), self.secret.is_empty()) {
            (true, _) => Err(ConfigError::HalfKey { missing: "access key id" }),
            (_, true) => Err(ConfigError::HalfKey { missing: "secret access key" }),
            _ if self.id.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(()),
            _ => Err(ConfigError::KeyId),
        }
    }
}

fn check_region(region: &str) -> Result<(), ConfigError> {
    let fits = (1..=MAX_REGION_BYTES).contains(&region.len());
    let is_name = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if fits && is_name { Ok(()) } else { Err(ConfigError::Region) }
}

fn check_endpoint(url: &str) -> Result<(), ConfigError> {
    let invalid = |reason| Err(ConfigError::Endpoint { reason });
    let Ok(uri) = url.parse::<Uri>() else { return invalid("it is no URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return invalid("it does not start with http:// or https://");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return invalid("it holds credentials, which have keys of their own");
    }
    if uri.host().is_none_or(str::is_empty) {
        return invalid("it names no host");
    }
    if uri.query().is_some() { invalid("it has a query") } else { Ok(()) }
}

/// Returns a URL for people, without what a mistaken user put before the host.
fn without_userinfo(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(config: &S3Config) -> String {
        config.check().expect_err("the configuration is wrong").to_string()
    }

    #[test]
    fn what_servers_need_is_taken() {
        for endpoint in ["", "http://127.0.0.1:9000", "https://minio.example/", "http://[::1]:9000/s3"] {
            let config = S3Config::new("us-east-1").with_endpoint(endpoint).with_credentials("a", "b");
            config.check().unwrap();
        }
        S3Config::new("auto").check().unwrap();
    }

    #[test]
    fn a_wrong_endpoint_says_what_is_wrong() {
        for (endpoint, reason) in [
            ("127.0.0.1:9000", "does not start with http"),
            ("s3://bucket", "does not start with http"),
            ("http://", "is no URL"),
            ("http://a b", "is no URL"),
            ("http://key:geheim@127.0.0.1:9000", "holds credentials"),
            ("http://host/?a=b", "has a query"),
        ] {
            let config = S3Config::new("us-east-1").with_endpoint(endpoint);
            assert!(told(&config).contains(reason), "{endpoint}: {}", told(&config));
            assert!(!told(&config).contains("geheim"));
            assert!(!format!("{config:?}").contains("geheim"));
        }
    }

    #[test]
    fn half_a_key_is_no_key() {
        let config = |id, secret| S3Config::new("us-east-1").with_credentials(id, secret);
        assert!(told(&config("", "b")).contains("access key id is missing"));
        assert!(told(&config("a", "")).contains("secret access key is missing"));
        assert!(told(&config("a\n", "b")).contains("printable"));
    }

    #[test]
    fn a_region_is_a_name() {
        for region in ["", "us east", "us-east-1.example.com/", &"x".repeat(64)] {
            assert!(told(&S3Config::new(region)).contains("region"), "{region}");
        }
        assert!(told(&S3Config::new("r").with_timeout(Duration::ZERO)).contains("timeout"));
    }

    #[test]
    fn credentials_are_never_shown() {
        let config = S3Config::new("us-east-1").with_credentials("AKIAEXAMPLE", "geheim");
        let shown = format!("{config:?}");
        assert!(!shown.contains("AKIAEXAMPLE") && !shown.contains("geheim"), "{shown}");
    }
}
