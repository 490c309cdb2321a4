//! What the leader clears away.

use std::time::Duration;

use meridian_store::{Compare, Revision, Txn};

use crate::shared::Shared;
use crate::view::View;

/// Audit entries kept: at ten writes a day three years.
const AUDITS_KEPT: usize = 10_000;
/// Deleted in one transaction; etcd takes 128 operations.
const AT_ONCE: usize = 100;
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

/// When the next look is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    looked_at: Option<Duration>,
}

impl Due {
    /// Deletes what is too old, if it is time. A failure is made up for by the next look.
    pub(super) async fn run(&mut self, shared: &Shared, fence: Revision, view: &View, now: Duration) {
        if self.looked_at.is_some_and(|at| now.saturating_sub(at) < INTERVAL) {
            return;
        }
        self.looked_at = Some(now);
        let surplus = view.audits.len().saturating_sub(AUDITS_KEPT).min(AT_ONCE);
        if surplus == 0 {
            return;
        }
        let mut txn = Txn::new().when(Compare::create_revision(shared.layout.leader(), fence));
        for ulid in view.audits.iter().take(surplus) {
            txn = txn.delete(shared.layout.audit(ulid));
        }
        if let Err(error) = shared.store.txn(txn).await {
            tracing::debug!(%error, "old audit entries could not be deleted");
        }
    }
}
