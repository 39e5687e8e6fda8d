//! A walk over all clients that have links, page by page, that keeps nothing in between.
//!
//! Every page is one `SCAN` step on one node, in a script, which can be sent to the node of a slot and answers
//! at the same time which process it ran in. `SCAN` answers every key that is there from the start to the end of
//! a walk, as long as it is one process's walk: when the process is another, the walk of the node starts again,
//! and when nodes changed, the whole walk does. Clients may then be answered twice, and none is left out.

use std::hash::Hasher;

use fnv::FnvHasher;
use mini_platform_core::domain::{ClientId, ClientQuery, Page, PageSize};
use redis::cluster_routing::Slot;
use redis::{Value, cmd};

use super::INVALID;
use super::position::{Part, Position};
use crate::connection::Connection;
use crate::error::Failure;

const SCAN: &str = include_str!("scan.lua");

pub(super) async fn clients(
    connection: &Connection,
    key_start: &str,
    query: &ClientQuery,
) -> Result<Page<ClientId>, Failure> {
    // A text that is no position comes from another adapter or version: the walk starts again.
    let position = query.after().and_then(Position::parse);
    let asked = position.clone().unwrap_or_default();
    let mut command = cmd("EVAL");
    command.arg(SCAN).arg(1).arg(key_in_slot(key_start, asked.slot));
    command.arg(asked.cursor).arg(format!("{key_start}*")).arg(step_size(query.size()));
    command.arg(u8::from(connection.is_cluster()));
    let (info, slots, (end, keys)): (String, Vec<Value>, (u64, Vec<Vec<u8>>)) =
        connection.try_command(&command).await?;
    let nodes = Nodes::read(&slots).ok_or(INVALID_SLOTS)?;
    let step = Step { process: process(&info), nodes, end, clients: read_clients(&keys, key_start)? };
    let (clients, next) = step.page(position.as_ref(), query.size());
    Ok(Page { items: clients, next: next.map(|position| query.token_after(&position.to_text())) })
}

const INVALID_SLOTS: Failure = Failure::Corrupt("the cluster's slots are not told as expected");

/// The fewest keys that a step passes, so that small pages do not make a walk past the keys of others long.
const MIN_STEP: usize = 75;

/// About how many keys a step passes. A step may answer a few more, so that a step mostly fits on a page.
fn step_size(size: PageSize) -> usize {
    (size.get() - size.get() / 4).max(MIN_STEP)
}

/// A key, of no client, that the node of a slot serves.
fn key_in_slot(key_start: &str, slot: u16) -> String {
    let wanted = Slot::new(slot);
    let mut keys = (0_u32..1 << 20).map(|number| format!("{key_start}{number}"));
    keys.find(|key| Some(Slot::for_key(key)) == wanted).unwrap_or_default()
}

fn process(info: &str) -> u64 {
    let run = info.lines().find(|line| line.starts_with("run_id:")).unwrap_or_default();
    let mut hasher = FnvHasher::default();
    hasher.write(run.trim_end().as_bytes());
    hasher.finish()
}

fn read_clients(keys: &[Vec<u8>], key_start: &str) -> Result<Vec<ClientId>, Failure> {
    let read = |key: &Vec<u8>| {
        let name = key.strip_prefix(key_start.as_bytes())?;
        ClientId::new(std::str::from_utf8(name).ok()?).ok()
    };
    keys.iter().map(|key| read(key).ok_or(INVALID)).collect()
}

/// The nodes of a cluster that serve slots.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Nodes {
    layout: u64,
    /// The lowest slot of each, in order.
    lowest: Vec<u16>,
}

impl Nodes {
    /// Reads the answer to `CLUSTER SLOTS`: ranges of slots, each with the nodes that have it, its primary first.
    fn read(slots: &[Value]) -> Option<Self> {
        let mut ranges: Vec<(u16, u16, &[u8])> = slots.iter().map(read_range).collect::<Option<_>>()?;
        ranges.sort_unstable();
        let mut hasher = FnvHasher::default();
        let mut seen = Vec::new();
        let mut lowest = Vec::new();
        for (first, last, node) in ranges {
            hasher.write_u16(first);
            hasher.write_u16(last);
            hasher.write(node);
            if !seen.contains(&node) {
                seen.push(node);
                lowest.push(first);
            }
        }
        let layout = if lowest.is_empty() { 0 } else { hasher.finish() };
        Some(Self { layout, lowest })
    }

    fn after(&self, slot: u16) -> Option<u16> {
        self.lowest.iter().copied().find(|lowest| *lowest > slot)
    }
}

fn read_range(range: &Value) -> Option<(u16, u16, &[u8])> {
    let Value::Array(range) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = range.as_slice() else {
        return None;
    };
    let [_, _, Value::BulkString(id), ..] = primary.as_slice() else { return None };
    Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, id))
}

/// What a step answered.
#[derive(Debug)]
struct Step {
    process: u64,
    nodes: Nodes,
    end: u64,
    clients: Vec<ClientId>,
}

impl Step {
    /// Makes the page of a step that was made at a position, and says where to go on.
    fn page(self, asked: Option<&Position>, size: PageSize) -> (Vec<ClientId>, Option<Position>) {
        let layout = self.nodes.layout;
        let asked = match asked {
            Some(asked) if asked.layout != layout => {
                return (Vec::new(), Some(Position { layout, ..Position::default() }));
            }
            Some(asked) if asked.process != self.process && !asked.is_start_of_node() => {
                return (Vec::new(), Some(Position { layout, slot: asked.slot, ..Position::default() }));
            }
            asked => asked.cloned().unwrap_or_default(),
        };
        let mut clients = self.clients;
        clients.sort_unstable();
        clients.dedup();
        if let Some(part) = asked.part.as_ref().filter(|part| part.end == self.end) {
            clients.retain(|client| client.as_str() > part.last.as_str());
        }
        let here = Position { layout, slot: asked.slot, process: self.process, cursor: self.end, part: None };
        if clients.len() > size.get() {
            clients.truncate(size.get());
            let last = clients.last().map(|client| client.as_str().to_owned());
            let part = last.map(|last| Part { end: self.end, last });
            return (clients, Some(Position { cursor: asked.cursor, part, ..here }));
        }
        if self.end != 0 {
            return (clients, Some(here));
        }
        let next = self.nodes.after(asked.slot);
        (clients, next.map(|slot| Position { layout, slot, ..Position::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mini_platform_core::testkit::client;

    const PROCESS: u64 = 7;

    fn step(layout: u64, end: u64, clients: &[&str]) -> Step {
        let nodes = Nodes { layout, lowest: vec![0, 5_000] };
        Step {
            process: PROCESS,
            nodes,
            end,
            clients: clients.iter().map(|name| self::client(name)).collect(),
        }
    }

    fn at(slot: u16, cursor: u64) -> Position {
        Position { layout: 1, slot, process: PROCESS, cursor, part: None }
    }

    fn names(clients: &[ClientId]) -> Vec<&str> {
        clients.iter().map(ClientId::as_str).collect()
    }

    fn size(size: u16) -> PageSize {
        PageSize::new(size).unwrap()
    }

    #[test]
    fn a_walk_goes_from_step_to_step_and_from_node_to_node() {
        let (clients, next) = step(1, 9, &["bob", "ann", "bob"]).page(None, size(2));
        assert_eq!((names(&clients), next), (vec!["ann", "bob"], Some(at(0, 9))));
        let (clients, next) = step(1, 0, &["cid"]).page(Some(&at(0, 9)), size(2));
        let start = Position { layout: 1, slot: 5_000, ..Position::default() };
        assert_eq!((names(&clients), next), (vec!["cid"], Some(start.clone())));
        let (clients, next) = step(1, 0, &[]).page(Some(&start), size(2));
        assert_eq!((names(&clients), next), (vec![], None));
    }

    #[test]
    fn a_step_that_answers_more_than_a_page_is_made_again_for_the_rest() {
        let (clients, next) = step(1, 9, &["cid", "ann", "bob"]).page(Some(&at(0, 4)), size(2));
        let part = Some(Part { end: 9, last: "bob".to_owned() });
        let again = Position { part, ..at(0, 4) };
        assert_eq!((names(&clients), next), (vec!["ann", "bob"], Some(again.clone())));
        let (clients, next) = step(1, 9, &["cid", "ann", "bob"]).page(Some(&again), size(2));
        assert_eq!((names(&clients), next), (vec!["cid"], Some(at(0, 9))));
        let (clients, _) = step(1, 12, &["cid", "ann"]).page(Some(&again), size(2));
        assert_eq!(names(&clients), ["ann", "cid"], "a step with another end passes other clients");
    }

    #[test]
    fn a_cursor_of_another_process_is_not_followed() {
        for asked in
            [at(5_000, 9), Position { part: Some(Part { end: 1, last: "ann".into() }), ..at(5_000, 0) }]
        {
            let asked = Position { process: PROCESS + 1, ..asked };
            let (clients, next) = step(1, 9, &["ann"]).page(Some(&asked), size(2));
            let start = Position { layout: 1, slot: 5_000, ..Position::default() };
            assert_eq!((names(&clients), next), (vec![], Some(start)));
        }
    }

    #[test]
    fn a_walk_over_other_nodes_starts_again() {
        let (clients, next) = step(2, 0, &["ann"]).page(Some(&at(5_000, 9)), size(2));
        assert_eq!((names(&clients), next), (vec![], Some(Position { layout: 2, ..Position::default() })));
    }

    #[test]
    fn nodes_are_walked_once_by_their_lowest_slot_and_told_apart_by_their_id() {
        let range = |first, last, id: &str| {
            let id = Value::BulkString(id.as_bytes().to_vec());
            let primary =
                vec![Value::BulkString(b"127.0.0.1".to_vec()), Value::Int(1), id, Value::Array(vec![])];
            Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(primary)])
        };
        let nodes = Nodes::read(&[range(900, 16_383, "a"), range(0, 99, "a"), range(100, 899, "b")]).unwrap();
        assert_eq!(nodes.lowest, [0, 100]);
        let failed_over = [range(0, 99, "a"), range(100, 899, "c"), range(900, 16_383, "a")];
        assert_ne!(Nodes::read(&failed_over).unwrap().layout, nodes.layout);
        assert_eq!(Nodes::read(&[Value::Okay]), None);
        assert_eq!(Nodes::read(&[]), Some(Nodes { layout: 0, lowest: vec![] }));
    }

    #[test]
    fn every_slot_has_a_key() {
        for slot in [0, 1, 8_191, 16_383] {
            let key = key_in_slot("mp:links/", slot);
            assert_eq!(Some(Slot::for_key(&key)), Slot::new(slot), "{key}");
        }
    }
}
