//! What the node holds of the control plane's word: commit, accounts, plan.

use std::sync::Arc;

use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_types::{CommitId, Digest, Plan};

/// All of it; cheap to clone. Kept in a `watch` channel, so that the keeper of the file sees every change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// The commit that is served, once there is one.
    pub(crate) commit: Option<HeldCommit>,
    /// The accounts, once a replica sent them.
    pub(crate) accounts: Option<HeldAccounts>,
    /// The newest plan seen.
    pub(crate) plan: Option<Arc<Plan>>,
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
