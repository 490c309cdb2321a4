//! What the node holds of the control plane's word: commit, accounts, plan.

use std::sync::Arc;

use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_types::{CommitId, Digest, Plan};

use crate::Peer;

/// All of it; cheap to clone. Kept in a `watch` channel, so that the keeper of the file sees every change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// Whose word it is; `None` before the first welcome.
    pub(crate) cluster: Option<u64>,
    /// The commit that is served, once there is one.
    pub(crate) commit: Option<HeldCommit>,
    /// The accounts, once a replica sent them.
    pub(crate) accounts: Option<HeldAccounts>,
    /// The newest plan seen.
    pub(crate) plan: Option<Arc<Plan>>,
    /// The nodes to probe, once a replica named them: without a control plane they are all that tells who lives.
    pub(crate) peers: Option<Arc<[Peer]>>,
}

/// Another cluster's control plane answers at an endpoint of this node. Its plans and commits count from other
/// beginnings, so that obeying both would mix two histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the replica belongs to cluster {told:x} and this node to cluster {held:x}; check the control endpoints, or stop \
     the node and empty its state directory to move it"
)]
pub(crate) struct Foreign {
    held: u64,
    told: u64,
}

impl Held {
    /// Takes the identity of the first cluster that answers and refuses every other. True: it was the first. A replica
    /// that does not know yet says 0.
    pub(crate) fn join(&mut self, told: u64) -> Result<bool, Foreign> {
        match self.cluster {
            _ if told == 0 => Ok(false),
            None => {
                self.cluster = Some(told);
                Ok(true)
            }
            Some(held) if held != told => Err(Foreign { held, told }),
            Some(_) => Ok(false),
        }
    }
}

/// A commit that was applied.
#[derive(Debug, Clone)]
pub(crate) struct HeldCommit {
    pub(crate) id: CommitId,
    pub(crate) digest: Digest,
    pub(crate) content: Arc<Content>,
}

/// Accounts with their digest, which every beat carries and which is slow to compute.
#[derive(Debug, Clone)]
pub(crate) struct HeldAccounts {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) digest: Digest,
}

impl HeldAccounts {
    pub(crate) fn new(accounts: Arc<Accounts>) -> Self {
        Self { digest: accounts.digest(), accounts }
    }
}
