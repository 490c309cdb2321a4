//! What the node holds of the control plane's word: commit, accounts, plan.

use std::sync::Arc;

use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_proto::node::v1;
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
    /// What operators have switched off, once a replica said it.
    pub(crate) switches: Option<Arc<HeldSwitches>>,
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

/// What is switched off, and when that was heard: how long each still holds counts from then.
#[derive(Debug, PartialEq)]
pub(crate) struct HeldSwitches {
    pub(crate) list: v1::SwitchList,
    /// Milliseconds since 1970, by the clock of this machine.
    pub(crate) heard_at_unix_ms: i64,
}

impl HeldSwitches {
    /// Lists are ordered by this.
    pub(crate) fn order(&self) -> (u64, u64) {
        (self.list.epoch, self.list.revision)
    }

    /// What is left of it now. Only this machine's clock counts; if it was set back, a switch holds longer rather than
    /// shorter, but never longer than it was to.
    pub(crate) fn left(&self, now_unix_ms: i64) -> v1::SwitchList {
        let passed = u64::try_from(now_unix_ms.saturating_sub(self.heard_at_unix_ms)).unwrap_or(0);
        let mut list = self.list.clone();
        list.switches.retain_mut(|active| {
            active.left_ms = active.left_ms.map(|left| left.saturating_sub(passed));
            active.left_ms != Some(0)
        });
        list
    }
}

impl HeldAccounts {
    pub(crate) fn new(accounts: Arc<Accounts>) -> Self {
        Self { digest: accounts.digest(), accounts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_switch_counts_from_when_it_was_heard() {
        let switch = |left_ms| v1::ActiveSwitch { switch: None, left_ms };
        let list = v1::SwitchList { epoch: 1, revision: 2, switches: vec![switch(None), switch(Some(1_000))] };
        let held = HeldSwitches { list, heard_at_unix_ms: 50_000 };
        let check = |now, expected: &[Option<u64>]| {
            let left: Vec<_> = held.left(now).switches.iter().map(|active| active.left_ms).collect();
            assert_eq!(left, expected, "{now}");
        };
        check(50_000, &[None, Some(1_000)]);
        check(50_400, &[None, Some(600)]);
        check(51_000, &[None]);
        check(i64::MAX, &[None]);
        // The clock was set back.
        check(10, &[None, Some(1_000)]);
    }
}
