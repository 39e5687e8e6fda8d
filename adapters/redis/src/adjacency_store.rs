//! Links between clients and branches.
//!
//! All links of a client are one sorted set of equal scores, which Redis orders by the bytes of its members. A
//! member is a neighbour and a time, so a page is one range and a removal at exactly a time is one `ZREM`. Only
//! linking takes a script: it replaces a member by one of a later time.

mod member;
mod position;
mod scan;

use std::fmt;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use mini_platform_core::domain::{
    BranchId, BranchLink, ClientId, ClientQuery, Edge, Interaction, MAX_BATCH, NeighbourQuery, Page, Side,
    Timestamp,
};
use mini_platform_core::error::StoreError;
use mini_platform_core::port::AdjacencyStore;
use redis::{Cmd, Pipeline, Script, cmd};

use crate::connect::Redis;
use crate::connection::Connection;
use crate::error::Failure;
use member::{Kind, Member};

/// The most edges that are sent at once: those of the largest batch.
const MAX_EDGES: usize = 2 * MAX_BATCH;

/// The most links of one script, which keeps all other callers waiting: less than a millisecond.
const MAX_SCRIPT_LINKS: usize = 128;

const LINK: &str = include_str!("adjacency_store/link.lua");

static LINK_HASH: LazyLock<String> = LazyLock::new(|| Script::new(LINK).get_hash().to_owned());

/// What is answered where a set of links holds what this program does not write.
const INVALID: Failure = Failure::Corrupt("a link is none that this program writes");

/// An [`AdjacencyStore`] in Redis. A clone costs a reference count.
///
/// A call is one round trip for up to 2,048 edges or one page, and each takes no longer than the timeout. The
/// links are as durable as the server is set to be: without `appendonly yes`, and when a replica takes over, the
/// latest may be lost. They are a projection of the event store, from which they can be made again.
///
/// While a cluster moves slots from node to node, [`AdjacencyStore::clients`] may miss a client on its way.
#[derive(Clone)]
pub struct RedisAdjacencyStore {
    connection: Connection,
    /// What the key of a client's links starts with. No prefix has a slash, so no other prefix leads here.
    key_start: Arc<str>,
}

impl fmt::Debug for RedisAdjacencyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdjacencyStore").field("key_start", &self.key_start).finish_non_exhaustive()
    }
}

/// The links of one client that are sent with one command.
struct Links<'a> {
    client: &'a ClientId,
    members: &'a [(&'a ClientId, Vec<u8>)],
}

impl RedisAdjacencyStore {
    pub(crate) fn new(redis: &Redis) -> Self {
        let key_start = format!("{}:links/", redis.key_prefix).into();
        Self { connection: redis.connection.clone(), key_start }
    }

    fn key(&self, client: &ClientId) -> String {
        format!("{}{}", self.key_start, client.as_str())
    }

    async fn link_at_once(&self, links: &[Links<'_>]) -> Result<(), Failure> {
        if self.connection.is_cluster() {
            try_join_all(links.iter().map(|links| self.link_one(links))).await?;
            return Ok(());
        }
        let mut pipeline = Pipeline::with_capacity(links.len());
        // The first carries the script's text, in case that the server does not know it (any more).
        let mut script = Sent::AsText;
        for call in calls(links) {
            pipeline.add_command(self.link_command(script, call)).ignore();
            script = Sent::AsHash;
        }
        self.connection.try_pipeline(&pipeline).await
    }

    /// Links one client. In a cluster a pipeline keeps to one slot, so the clients go side by side instead; the
    /// driver writes them to each node in one go.
    async fn link_one(&self, links: &Links<'_>) -> Result<(), Failure> {
        let only = std::slice::from_ref(links);
        match self.connection.try_command(&self.link_command(Sent::AsHash, only)).await {
            Err(Failure::Server(code)) if code == "NOSCRIPT" => {
                self.connection.try_command(&self.link_command(Sent::AsText, only)).await
            }
            answer => answer,
        }
    }

    fn link_command(&self, script: Sent, links: &[Links<'_>]) -> Cmd {
        let mut command = match script {
            Sent::AsText => cmd("EVAL"),
            Sent::AsHash => cmd("EVALSHA"),
        };
        match script {
            Sent::AsText => command.arg(LINK),
            Sent::AsHash => command.arg(LINK_HASH.as_str()),
        };
        command.arg(links.len());
        for links in links {
            command.arg(self.key(links.client));
        }
        for links in links {
            command.arg(links.members.len());
            for (_, member) in links.members {
                command.arg(member);
            }
        }
        command
    }

    async fn unlink_at_once(&self, links: &[Links<'_>]) -> Result<(), Failure> {
        let commands = links.iter().map(|links| {
            let mut command = cmd("ZREM");
            command.arg(self.key(links.client));
            for (_, member) in links.members {
                command.arg(member);
            }
            command
        });
        if self.connection.is_cluster() {
            let send = async |command: Cmd| self.connection.try_command::<()>(&command).await;
            try_join_all(commands.map(send)).await?;
            return Ok(());
        }
        let mut pipeline = Pipeline::with_capacity(links.len());
        for command in commands {
            pipeline.add_command(command).ignore();
        }
        self.connection.try_pipeline(&pipeline).await
    }

    /// Reads up to so many links of a kind that are behind the query's position.
    async fn members(
        &self,
        query: &NeighbourQuery,
        kind: Kind,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let (from, to) = member::range_behind(kind, query.after());
        let mut command = cmd("ZRANGEBYLEX");
        command.arg(self.key(query.client())).arg(from).arg(to).arg("LIMIT").arg(0).arg(limit);
        self.connection.try_command(&command).await
    }
}

#[derive(Clone, Copy)]
enum Sent {
    AsText,
    AsHash,
}

/// Splits links into what one script takes.
fn calls<'l, 'a>(links: &'l [Links<'a>]) -> impl Iterator<Item = &'l [Links<'a>]> {
    let mut rest = links;
    std::iter::from_fn(move || {
        let mut taken = 0;
        let fits = |links: &&Links<'_>| {
            taken += links.members.len();
            taken <= MAX_SCRIPT_LINKS
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (call, others) = rest.split_at_checked(count)?;
        rest = others;
        Some(call)
    })
}

/// Makes the members of edges, those of a client side by side.
fn members_of(edges: &[Edge]) -> Vec<(&ClientId, Vec<u8>)> {
    let mut members: Vec<_> = edges.iter().map(member::of_edge).collect();
    members.sort_unstable();
    members
}

fn by_client<'a>(members: &'a [(&'a ClientId, Vec<u8>)]) -> Vec<Links<'a>> {
    let clients = members.chunk_by(|(one, _), (other, _)| one == other);
    let parts = clients.flat_map(|links| links.chunks(MAX_SCRIPT_LINKS));
    parts.filter_map(|members| Some(Links { client: members.first()?.0, members })).collect()
}

#[async_trait]
impl AdjacencyStore for RedisAdjacencyStore {
    async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
        for edges in edges.chunks(MAX_EDGES) {
            let members = members_of(edges);
            let linked = self.link_at_once(&by_client(&members)).await;
            linked.map_err(|failure| failure.during("link clients"))?;
        }
        Ok(())
    }

    async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError> {
        for edges in edges.chunks(MAX_EDGES) {
            let members = members_of(edges);
            let unlinked = self.unlink_at_once(&by_client(&members)).await;
            unlinked.map_err(|failure| failure.during("unlink clients"))?;
        }
        Ok(())
    }

    async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError> {
        // One more than fits, to see whether there is another page; each has up to two sides.
        let limit = 2 * (query.size().get() + 1);
        let items = self
            .members(query, Kind::Interaction, limit)
            .await
            .and_then(|members| read_interactions(&members));
        let items = items.map_err(|failure| failure.during("query interactions"))?;
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.counterparty.as_str())))
    }

    async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError> {
        let limit = query.size().get() + 1;
        let items =
            self.members(query, Kind::Branch, limit).await.and_then(|members| read_branches(&members));
        let items = items.map_err(|failure| failure.during("query branches"))?;
        Ok(Page::cut(items, query.size(), |last| query.token_after(last.branch.as_str())))
    }

    async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
        let page = scan::clients(&self.connection, &self.key_start, query).await;
        Ok(page.map_err(|failure| failure.during("list clients"))?)
    }
}

fn read_interactions(members: &[Vec<u8>]) -> Result<Vec<Interaction>, Failure> {
    let members: Option<Vec<Member<'_>>> = members.iter().map(|member| Member::read(member)).collect();
    let members = members.ok_or(INVALID)?;
    let neighbours = members.chunk_by(|one, other| one.neighbour == other.neighbour);
    neighbours.map(|sides| read_interaction(sides).ok_or(INVALID)).collect()
}

fn read_interaction(sides: &[Member<'_>]) -> Option<Interaction> {
    let time = |side: Side| -> Option<Timestamp> {
        sides.iter().find(|member| member.side == Some(side)).map(|member| member.at)
    };
    let counterparty = ClientId::new(sides.first()?.neighbour).ok()?;
    Interaction::new(counterparty, time(Side::Sent), time(Side::Received))
}

fn read_branches(members: &[Vec<u8>]) -> Result<Vec<BranchLink>, Failure> {
    let read = |member: &Vec<u8>| {
        let member = Member::read(member)?;
        Some(BranchLink { branch: BranchId::new(member.neighbour).ok()?, last_at: member.at })
    };
    members.iter().map(|member| read(member).ok_or(INVALID)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mini_platform_core::testkit::{at, branch, client};

    fn edge(name: &str, place: &str) -> Edge {
        Edge::Branch { client: client(name), branch: branch(place), at: at(1) }
    }

    fn sizes(edges: &[Edge]) -> Vec<Vec<usize>> {
        let members = members_of(edges);
        let links = by_client(&members);
        calls(&links).map(|call| call.iter().map(|links| links.members.len()).collect()).collect()
    }

    #[test]
    fn links_of_a_client_are_sent_side_by_side() {
        assert_eq!(sizes(&[edge("bob", "x"), edge("ann", "x"), edge("bob", "y")]), [[1, 2]]);
        assert_eq!(sizes(&[]), [[0; 0]; 0]);
    }

    #[test]
    fn no_script_takes_more_links_than_it_may() {
        let mut edges: Vec<Edge> = (0..300).map(|number| edge("ann", &format!("{number}"))).collect();
        assert_eq!(sizes(&edges), [vec![128], vec![128], vec![44]]);
        edges.truncate(100);
        edges.extend((0..50).map(|number| edge(&format!("c{number}"), "x")));
        let sizes = sizes(&edges);
        assert_eq!(sizes.iter().map(|call| call.iter().sum()).collect::<Vec<usize>>(), [128, 22]);
    }
}
