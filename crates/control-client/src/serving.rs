//! The seam to what runs the configuration: the node.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_proto::node::v1;
use meridian_types::{CommitId, Configuration, Digest, Mistake, NameError, NodeName, Plan, RegionName};

/// What the lanes feed and ask. Every method but [`Serving::answer`] is called from a lane and must return soon.
#[async_trait]
pub trait Serving: Send + Sync + 'static {
    /// Compiles the configuration and swaps it in, whole or not at all. `Err` names every mistake; what was served
    /// before is then still served.
    fn apply(&self, published: Arc<Published>) -> Result<(), Vec<Mistake>>;

    /// From now on these are the accounts, all of them.
    fn accounts(&self, accounts: Arc<Accounts>);

    /// A checked plan, newer than every one before it. At start it may come from the file: `made_at_unix_ms` tells
    /// its age.
    fn plan(&self, plan: Arc<Plan>);

    /// From now on these are the nodes to probe, all of them, this node not among them.
    fn peers(&self, peers: Arc<[Peer]>);

    /// The injected faults as one replica has them, whole. Replicas repeat each other, and one that lags sends an older
    /// list.
    fn faults(&self, faults: &v1::FaultList);

    /// From now on this is switched off, all of it: newer than every list before it. At start it may come from the file,
    /// with the time that passed since taken from what was left.
    fn switches(&self, switches: &v1::SwitchList);

    /// The upstream outages as one replica has them, whole. Replicas repeat each other, and one that lags sends an older
    /// list; with nobody to repeat it, who serves forgets it.
    fn outages(&self, outages: &v1::OutageList);

    /// A peer may have died just now: find out.
    fn look(&self);

    /// The light half of a beat, four times a second.
    fn vitals(&self) -> Vitals;

    /// The heavy half, once a second, and sooner when [`crate::Handle::report_now`] was called. Rates cover the time
    /// since the call before; every replica gets the same report.
    fn report(&self) -> v1::Report;

    /// Answers a question that only this node can; has [`crate::ANSWER_DEADLINE`].
    async fn answer(&self, query: v1::Query) -> v1::Reply;
}

/// A checked configuration, ready to be compiled.
#[derive(Debug, Clone)]
pub struct Published {
    /// Which commit.
    pub commit: CommitId,
    /// SHA-256 of `content`.
    pub digest: Digest,
    /// The resources as they came. Who serves keeps them beside what it compiled from them, so that
    /// [`Vitals::served`] can be recomputed.
    pub content: Arc<Content>,
    /// The same as domain types; references hold.
    pub configuration: Arc<Configuration>,
    /// Where it came from.
    pub source: Source,
}

/// Where a configuration came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A control replica, just now.
    Live,
    /// The last-known-good file.
    File {
        /// Since it was written, by the wall clock.
        age: Duration,
    },
}

/// How the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// Whether it takes requests.
    pub state: v1::ServingState,
    /// Requests in flight.
    pub in_flight: u32,
    /// `None`: nothing yet.
    pub served: Option<Served>,
}

/// What is served, recomputed from what is really in use: a node that lost or mixed up its state shows it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Which commit.
    pub commit: CommitId,
    /// SHA-256 of its content.
    pub digest: Digest,
    /// Of the tables that were made from it and are in use ([`meridian_types::served`]).
    pub tables: Digest,
}

/// Another node, to be probed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its name.
    pub node: NodeName,
    /// Where it runs.
    pub region: RegionName,
    /// `host:port` of its public listener.
    pub address: String,
    /// `host:port` of its listener for other nodes, where requests are handed over; `None`: it has none.
    pub peer_address: Option<String>,
}

impl TryFrom<&v1::Peer> for Peer {
    type Error = NameError;

    fn try_from(message: &v1::Peer) -> Result<Self, NameError> {
        let (node, region) = (NodeName::new(&message.node)?, RegionName::new(&message.region)?);
        let peer_address = Some(message.peer_address.clone()).filter(|address| !address.is_empty());
        Ok(Self { node, region, address: message.address.clone(), peer_address })
    }
}

impl From<&Peer> for v1::Peer {
    fn from(peer: &Peer) -> Self {
        Self {
            node: peer.node.to_string(),
            region: peer.region.to_string(),
            address: peer.address.clone(),
            peer_address: peer.peer_address.clone().unwrap_or_default(),
        }
    }
}
