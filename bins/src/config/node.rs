//! The kinds of values about the nodes of a cluster.

use std::net::IpAddr;

use mini_platform_core::domain::{MAX_TOKEN_BYTES, NodeAddress, WorkerId};

use super::value::{Kind, OptionalSecret, OptionalText, Secret, Written};

/// The most dispatchers that a worker joins: each costs it a connection and heartbeats.
const MAX_NODES: usize = 16;

/// Where nodes are, each named once.
pub(super) struct Nodes;

impl Kind for Nodes {
    type Value = Vec<NodeAddress>;

    fn expected(&self) -> String {
        format!(r#"a list of 1 to {MAX_NODES} different addresses such as "http://127.0.0.1:9081""#)
    }

    fn read(&self, written: &Written) -> Option<Vec<NodeAddress>> {
        let nodes: Vec<_> = written.items()?.into_iter().map(node).collect::<Option<_>>()?;
        let is_unique =
            nodes.iter().enumerate().all(|(place, node)| !nodes.iter().take(place).any(|n| n == node));
        ((1..=MAX_NODES).contains(&nodes.len()) && is_unique).then_some(nodes)
    }

    fn toml(&self, value: &Vec<NodeAddress>) -> toml::Value {
        value.iter().map(ToString::to_string).collect::<Vec<_>>().into()
    }
}

/// Where others reach this node, or none.
pub(super) struct AdvertisedAddress;

impl Kind for AdvertisedAddress {
    type Value = Option<NodeAddress>;

    fn expected(&self) -> String {
        r#"an address that dispatchers can dial, such as "http://10.0.0.5:9082" and never 0.0.0.0, or nothing"#.to_owned()
    }

    fn read(&self, written: &Written) -> Option<Option<NodeAddress>> {
        let Some(text) = OptionalText.read(written)? else { return Some(None) };
        node(&text).map(Some)
    }

    fn toml(&self, value: &Option<NodeAddress>) -> toml::Value {
        value.as_ref().map(NodeAddress::as_str).unwrap_or_default().into()
    }
}

/// Reads an address that can be dialled: not the one that stands for all.
fn node(text: &str) -> Option<NodeAddress> {
    let node = NodeAddress::new(text).ok()?;
    let (host, _) = node.as_str().strip_prefix("http://")?.rsplit_once(':')?;
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    address.map_or(true, |address| !address.is_unspecified()).then_some(node)
}

/// The name of a worker, or none.
pub(super) struct OptionalWorkerId;

impl Kind for OptionalWorkerId {
    type Value = Option<WorkerId>;

    fn expected(&self) -> String {
        "up to 128 printable ASCII characters without spaces, or nothing".to_owned()
    }

    fn read(&self, written: &Written) -> Option<Option<WorkerId>> {
        let Some(text) = OptionalText.read(written)? else { return Some(None) };
        WorkerId::new(text).ok().map(Some)
    }

    fn toml(&self, value: &Option<WorkerId>) -> toml::Value {
        value.as_ref().map(WorkerId::as_str).unwrap_or_default().into()
    }
}

/// The secret of a cluster, or none.
pub(super) struct OptionalToken;

impl Kind for OptionalToken {
    type Value = Option<Secret>;
    const SECRET: bool = true;

    fn expected(&self) -> String {
        format!("text of up to {MAX_TOKEN_BYTES} bytes, or nothing")
    }

    fn read(&self, written: &Written) -> Option<Option<Secret>> {
        let token = OptionalSecret.read(written)?;
        let fits = token.as_ref().is_none_or(|token| token.expose().len() <= MAX_TOKEN_BYTES);
        fits.then_some(token)
    }

    fn toml(&self, value: &Option<Secret>) -> toml::Value {
        OptionalSecret.toml(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped<K: Kind>(kind: &K, text: &str) -> Option<K::Value> {
        kind.read(&Written::Untyped(text.to_owned()))
    }

    #[test]
    fn the_nodes_to_join_are_different_and_can_be_dialled() {
        let nodes =
            untyped(&Nodes, "http://127.0.0.1:9081, http://d-2.bank.example:9081").expect("two nodes");
        assert_eq!(Nodes.toml(&nodes).as_array().map(Vec::len), Some(2));
        let twice = "http://d:1,http://d:1/";
        let too_many: Vec<_> = (1..=17).map(|port| format!("http://d:{port}")).collect();
        for text in [
            "",
            "d:1",
            "https://d:1",
            "http://0.0.0.0:1",
            "http://[::]:1",
            "http://d:0",
            twice,
            &too_many.join(","),
        ] {
            assert_eq!(untyped(&Nodes, text), None, "{text:?} must be refused");
        }
        assert_eq!(untyped(&Nodes, &too_many[1..].join(",")).map(|nodes| nodes.len()), Some(16));
        assert_eq!(Nodes.read(&Written::Strings(Vec::new())), None, "none at all");
    }

    #[test]
    fn the_address_that_stands_for_all_is_not_advertised() {
        assert_eq!(untyped(&AdvertisedAddress, ""), Some(None));
        for text in ["http://10.0.0.5:9082", "http://worker-1:9082", "http://[::1]:9082"] {
            let read = untyped(&AdvertisedAddress, text).expect(text);
            assert_eq!(AdvertisedAddress.toml(&read).as_str(), Some(text));
        }
        for text in
            ["http://0.0.0.0:9082", "http://[::]:9082", "http://[0:0:0:0:0:0:0:0]:9082", "0.0.0.0:9082", " "]
        {
            assert_eq!(untyped(&AdvertisedAddress, text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn a_worker_has_a_short_plain_name() {
        assert_eq!(untyped(&OptionalWorkerId, ""), Some(None));
        assert_eq!(untyped(&OptionalWorkerId, "w-1"), Some(WorkerId::new("w-1").ok()));
        for text in ["a b", "é", &"x".repeat(129)] {
            assert_eq!(untyped(&OptionalWorkerId, text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn a_token_that_would_match_nothing_is_refused() {
        assert_eq!(untyped(&OptionalToken, ""), Some(None));
        assert!(untyped(&OptionalToken, &"x".repeat(256)).is_some());
        assert!(untyped(&OptionalToken, &"x".repeat(257)).is_none());
    }
}
