//! What a URL names: one server, a cluster, or a master behind Sentinels.

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

use crate::config::RedisConfig;
use crate::error::ConnectError;

/// Where Redis is.
#[derive(Clone)]
pub(crate) enum Place {
    Server(Box<ConnectionInfo>),
    Cluster(Vec<ConnectionInfo>),
    /// `settings` is how to log in to the master, with the address of a Sentinel.
    Sentinel {
        sentinels: Vec<ConnectionAddr>,
        master: String,
        settings: Box<ConnectionInfo>,
    },
}

const FORMS: &str = "it must be redis://host, redis+cluster://host,host or redis+sentinel://host,host/name \
                     (rediss… for TLS)";

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server,
    Cluster,
    Sentinel,
}

impl Place {
    pub(crate) fn of(config: &RedisConfig) -> Result<Self, ConnectError> {
        let (scheme, rest) = config.url.split_once("://").ok_or(invalid(FORMS))?;
        let (scheme, kind) = match scheme {
            "redis" | "rediss" => (scheme, Kind::Server),
            "redis+cluster" => ("redis", Kind::Cluster),
            "rediss+cluster" => ("rediss", Kind::Cluster),
            "redis+sentinel" => ("redis", Kind::Sentinel),
            "rediss+sentinel" => ("rediss", Kind::Sentinel),
            _ => return Err(invalid(FORMS)),
        };
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (format!("{login}@"), rest),
            None => (String::new(), rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = if kind == Kind::Sentinel { SENTINEL_PORT } else { PORT };
        let (master, db) = match kind {
            Kind::Sentinel => path.split_once('/').unwrap_or((path, "")),
            Kind::Server | Kind::Cluster => ("", path),
        };
        let mut nodes = Vec::new();
        for host in hosts.split(',') {
            nodes.push(node(config, &format!("{scheme}://{login}{}/{db}", with_port(host, port)))?);
        }
        Self::from_nodes(kind, nodes, master)
    }

    fn from_nodes(kind: Kind, mut nodes: Vec<ConnectionInfo>, master: &str) -> Result<Self, ConnectError> {
        match kind {
            Kind::Cluster if nodes.iter().any(|node| node.redis_settings().db() != 0) => {
                Err(invalid("a cluster has no databases: end it after the hosts"))
            }
            Kind::Cluster => Ok(Self::Cluster(nodes)),
            Kind::Sentinel if master.is_empty() => {
                Err(invalid("the name that the Sentinels know the master by must follow the hosts"))
            }
            Kind::Sentinel => {
                let sentinels = nodes.iter().map(|node| node.addr().clone()).collect();
                let settings = nodes.pop().ok_or(invalid(FORMS))?;
                Ok(Self::Sentinel { sentinels, master: master.to_owned(), settings: Box::new(settings) })
            }
            Kind::Server if nodes.len() > 1 => Err(invalid(
                "several hosts are a cluster (redis+cluster://) or Sentinels (redis+sentinel://)",
            )),
            Kind::Server => nodes.pop().map(|node| Self::Server(Box::new(node))).ok_or(invalid(FORMS)),
        }
    }

    /// The addresses as a person knows them, without any login.
    pub(crate) fn addresses(&self) -> String {
        let list = |addresses: &mut dyn Iterator<Item = &ConnectionAddr>| {
            addresses.map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        match self {
            Self::Server(node) => node.addr().to_string(),
            Self::Cluster(nodes) => list(&mut nodes.iter().map(ConnectionInfo::addr)),
            Self::Sentinel { sentinels, .. } => list(&mut sentinels.iter()),
        }
    }
}

/// Sends a command at once, however short it is.
pub(crate) fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn invalid(reason: &'static str) -> ConnectError {
    ConnectError::InvalidUrl { reason }
}

fn with_port(host: &str, port: u16) -> String {
    let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    if after_address.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
}

fn node(config: &RedisConfig, url: &str) -> Result<ConnectionInfo, ConnectError> {
    if url.contains(['?', '#']) {
        return Err(invalid("it takes no options after `?` or `#`"));
    }
    // The driver's own message is left out: it may quote the URL.
    let node = url.into_connection_info().map_err(|_| invalid(FORMS))?.set_tcp_settings(tcp_settings());
    let ConnectionAddr::TcpTls { .. } = node.addr() else { return Ok(node) };
    let Some(ca) = &config.ca_certificate else { return Ok(node) };
    let trusted = TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
    let client = redis::Client::build_with_tls(node, trusted);
    Ok(client.map_err(|_| ConnectError::InvalidCaCertificate)?.get_connection_info().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<Place, ConnectError> {
        Place::of(&RedisConfig::new(url))
    }

    #[test]
    fn every_form_is_understood() {
        for (url, addresses) in [
            ("redis://h", "h:6379"),
            ("rediss://u:p@h:1/2", "h:1"),
            ("redis://[::1]:7", "::1:7"),
            ("redis://[::1]", "::1:6379"),
            ("redis+cluster://a,b:2", "a:6379,b:2"),
            ("rediss+cluster://u:p%40@a:1/", "a:1"),
            ("redis+sentinel://a,b:2/main", "a:26379,b:2"),
            ("rediss+sentinel://:p@a/main/3", "a:26379"),
        ] {
            assert_eq!(place(url).unwrap().addresses(), addresses, "{url}");
        }
    }

    #[test]
    fn a_login_is_decoded_and_a_sentinel_url_carries_the_name_and_the_database() {
        let Ok(Place::Sentinel { master, settings, .. }) = place("redis+sentinel://u%3A:p%40%2F@a/main/3")
        else {
            panic!("the URL is right");
        };
        let settings = settings.redis_settings();
        assert_eq!((master.as_str(), settings.db()), ("main", 3));
        assert_eq!((settings.username(), settings.password()), (Some("u:"), Some("p@/")));
    }

    #[test]
    fn a_wrong_url_is_refused_without_quoting_it() {
        for url in [
            "",
            "h:6379",
            "http://hidden@h",
            "redis://",
            "redis://u:hidden@h:port",
            "redis://u:hidden@h/db",
            "redis://u:hidden@a,b",
            "redis://u:hidden@h?protocol=3",
            "rediss://u:hidden@h#insecure",
            "redis+cluster://u:hidden@a/1",
            "redis+sentinel://u:hidden@a",
        ] {
            let error = place(url).err().unwrap_or_else(|| panic!("{url} is no URL of ours"));
            assert!(matches!(error, ConnectError::InvalidUrl { .. }), "{url}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_text_that_is_no_certificate_is_refused() {
        let config = RedisConfig::new("rediss://h").with_ca_certificate("-----BEGIN CERTIFICATE-----\nx\n");
        assert!(matches!(Place::of(&config), Err(ConnectError::InvalidCaCertificate)));
    }
}
