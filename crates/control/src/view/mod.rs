//! The store as this replica sees it: immutable views, made from the watch, handed out whole.

mod apply;
mod mirror;
mod outage;
mod outages;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_proto::fleet::v1 as fleet;
use meridian_proto::store::v1 as stored;
use meridian_store::Revision;
use meridian_types::{CommitId, Configuration, Digest, NodeName, Plan, RegionName};

pub(crate) use mirror::Mirror;
pub(crate) use outages::Outages;
pub(crate) use target::{Target, differ_by_cell};

use crate::overrides::InForce;
use crate::rollout::CellId;
use crate::store::Commit;

/// Everything under the cluster's prefix at one revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// 0: the store was not read yet.
    pub(crate) revision: Revision,
    /// Identity of the data: the store's own, unless a restore brought the data from another one.
    pub(crate) cluster_id: u64,
    /// What a restore brought; 0: nothing.
    pub(crate) restored_id: u64,
    /// Restores of the store.
    pub(crate) epoch: u64,
    /// The commit that the fleet should run.
    pub(crate) head: Option<Arc<Head>>,
    pub(crate) commits: BTreeMap<CommitId, Arc<Commit>>,
    pub(crate) rollouts: BTreeMap<CommitId, Rollout>,
    pub(crate) pins: BTreeMap<CellId, Pin>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) accounts_digest: Digest,
    /// Operators' overrides, expired ones too.
    pub(crate) overrides: BTreeMap<RegionName, Override>,
    /// Injected faults, ended ones too.
    pub(crate) faults: Arc<stored::Faults>,
    pub(crate) faults_revision: Revision,
    /// What is switched off, ended ones too.
    pub(crate) switches: Arc<stored::Switches>,
    pub(crate) switches_revision: Revision,
    pub(crate) nodes: BTreeMap<NodeName, Registered>,
    pub(crate) replicas: BTreeMap<String, stored::Replica>,
    pub(crate) leader: Option<Leader>,
    pub(crate) summaries: BTreeMap<RegionName, fleet::RegionSummary>,
    /// What the summaries say of upstreams.
    pub(crate) outages: Arc<Outages>,
    pub(crate) plan: Option<Published>,
    pub(crate) beacons: BTreeMap<String, u64>,
    /// Names only.
    pub(crate) audits: BTreeSet<String>,
    /// What `head` names; the commit itself may come later, or be unreadable.
    head_named: Option<CommitId>,
    /// What cells run that the head has not come to.
    held_back: Option<Arc<Target>>,
    /// What cells ran before, newest last: nodes that hold it need only the difference.
    former: Vec<Arc<Target>>,
}

/// The head commit, decoded.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) commit: Arc<Commit>,
    pub(crate) content: Arc<Content>,
    pub(crate) configuration: Configuration,
    /// The same, as nodes are to run it.
    pub(crate) target: Arc<Target>,
}

/// A rollout and the revision that wrote it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rollout {
    pub(crate) document: stored::Rollout,
    pub(crate) revision: Revision,
}

/// The pin of a cell and the revision that wrote it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pin {
    pub(crate) document: stored::Pin,
    pub(crate) revision: Revision,
}

/// The overrides of a region and the revision that wrote them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Override {
    pub(crate) document: stored::Override,
    pub(crate) revision: Revision,
}

/// A node that has ever reported.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Registered {
    pub(crate) region: RegionName,
    pub(crate) document: stored::RegisteredNode,
    pub(crate) revision: Revision,
}

/// Who plans.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leader {
    pub(crate) replica: stored::Replica,
    /// The fence.
    pub(crate) created: Revision,
}

/// The plan in force.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) plan: Arc<Plan>,
    pub(crate) message: Arc<fleet::Plan>,
    pub(crate) revision: Revision,
}

impl View {
    /// Whether the store has been read.
    pub(crate) fn is_loaded(&self) -> bool {
        self.revision != Revision::ZERO
    }

    /// 0 before the first commit.
    pub(crate) fn head_id(&self) -> CommitId {
        self.head.as_ref().map_or(CommitId::NONE, |head| head.commit.id())
    }

    /// Whether the head commit has the region.
    pub(crate) fn is_configured(&self, region: &RegionName) -> bool {
        self.head.as_ref().is_some_and(|head| head.configuration.regions.contains_key(region))
    }

    /// What is overridden of a region at `now`.
    pub(crate) fn overridden(&self, region: &RegionName, now_unix_ms: i64) -> InForce<'_> {
        self.overrides.get(region).map_or_else(InForce::default, |held| InForce::of(&held.document, now_unix_ms))
    }
}
