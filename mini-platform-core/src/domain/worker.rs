//! Who workers are, and what their membership of a cluster is known by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::id::{InvalidId, check_printable};

/// The longest worker id, in bytes.
///
/// Long enough for a host name with a port.
pub const MAX_WORKER_ID_BYTES: usize = 128;

/// The longest address of a node, in bytes.
///
/// A host name has at most 253.
pub const MAX_ADDRESS_BYTES: usize = 300;

/// The longest join token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 256;

/// Names a worker within a cluster: 1 to [`MAX_WORKER_ID_BYTES`] of printable ASCII without spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct WorkerId(SmolStr);

impl WorkerId {
    /// The worker that lives in the dispatcher's own process.
    pub const LOCAL: Self = Self(SmolStr::new_static("local"));

    /// Checks a text and makes an id of it.
    ///
    /// # Errors
    /// Says the first rule that the text breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
        let text = text.as_ref();
        check_printable(text, MAX_WORKER_ID_BYTES)?;
        Ok(Self(SmolStr::new(text)))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WorkerId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl TryFrom<SmolStr> for WorkerId {
    type Error = InvalidId;
    fn try_from(text: SmolStr) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl From<WorkerId> for SmolStr {
    fn from(id: WorkerId) -> Self {
        id.0
    }
}

/// A text is no address of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be http://HOST:PORT, such as http://127.0.0.1:9082, in at most {MAX_ADDRESS_BYTES} bytes")]
pub struct InvalidNodeAddress;

/// Where a dispatcher or worker is dialled: `http://HOST:PORT`, without path or credentials, and no port 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct NodeAddress(SmolStr);

impl NodeAddress {
    /// Checks a text and makes an address of it. A slash at the end is dropped.
    ///
    /// # Errors
    /// It is no `http://HOST:PORT`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidNodeAddress> {
        let text = text.as_ref();
        let text = text.strip_suffix('/').unwrap_or(text);
        let authority = text.strip_prefix("http://").ok_or(InvalidNodeAddress)?;
        let (host, port) = authority.rsplit_once(':').ok_or(InvalidNodeAddress)?;
        let has_port = port.parse::<u16>().is_ok_and(|port| port != 0) && !port.starts_with('+');
        if text.len() <= MAX_ADDRESS_BYTES && has_port && is_host(host) {
            Ok(Self(SmolStr::new(text)))
        } else {
            Err(InvalidNodeAddress)
        }
    }

    /// Returns the address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeAddress {
    type Err = InvalidNodeAddress;
    fn from_str(text: &str) -> Result<Self, InvalidNodeAddress> {
        Self::new(text)
    }
}

impl TryFrom<SmolStr> for NodeAddress {
    type Error = InvalidNodeAddress;
    fn try_from(text: SmolStr) -> Result<Self, InvalidNodeAddress> {
        Self::new(text)
    }
}

impl From<NodeAddress> for SmolStr {
    fn from(address: NodeAddress) -> Self {
        address.0
    }
}

/// Tells one run of a worker from the next at the same address: a random number of each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

/// Numbers the memberships that a dispatcher has given, upwards: a worker that joins anew gets a higher one, and
/// what still comes for the lower one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Epoch(pub u64);

/// The version of the protocol between dispatchers and workers. Those of another version are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolVersion(pub u32);

impl ProtocolVersion {
    /// What this version of the platform speaks.
    pub const CURRENT: Self = Self(1);
}

/// The secret that lets a worker join; empty when the cluster has none.
#[derive(Clone, Default)]
pub struct JoinToken(String);

impl JoinToken {
    /// Makes a token of a text, of which everything beyond [`MAX_TOKEN_BYTES`] makes it match nothing.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Says whether two tokens are the same, in a time that does not tell how much of them is.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let (one, other) = (self.0.as_bytes(), other.0.as_bytes());
        let longest = one.len().max(other.len());
        if longest > MAX_TOKEN_BYTES {
            return false;
        }
        let at = |bytes: &[u8], place| bytes.get(place).copied().unwrap_or_default();
        let different = (0..MAX_TOKEN_BYTES).fold(0, |all, place| all | (at(one, place) ^ at(other, place)));
        (different == 0) & (one.len() == other.len())
    }

    /// Returns the secret, to send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_else() {
        for good in
            ["http://127.0.0.1:9082", "http://w-1.bank.example:80/", "http://[::1]:9082", "http://w_1:1"]
        {
            assert!(NodeAddress::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:9082",
            "https://w:1",
            "http://w",
            "http://w:0",
            "http://w:+1",
            "http://w:65536",
            "http://:1",
            "http://u:p@w:1",
            "http://w:1/path",
            "http://::1:9082",
            "http://a b:1",
            "http://[w]:1",
        ] {
            assert!(NodeAddress::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_matches_only_itself_and_is_not_shown() {
        let token = JoinToken::new("secret");
        assert!(token.matches(&JoinToken::new("secret")));
        for other in ["", "secre", "secret\0", "Secret"] {
            assert!(!token.matches(&JoinToken::new(other)), "{other}");
        }
        let long = JoinToken::new("s".repeat(MAX_TOKEN_BYTES + 1));
        assert!(!long.matches(&long.clone()));
        assert!(!format!("{token:?}").contains("secret"));
    }
}
