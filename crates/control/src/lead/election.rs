//! One leader: a key under a lease, and its creation revision as the fence of everything the leader writes.

use std::time::Duration;

use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Error, LeaseId, Revision, Txn};
use tokio::time::Instant;

use crate::shared::Shared;
use crate::store::document::{self, FORM};

/// A leader that vanishes is replaced after this long.
const LEASE: Duration = Duration::from_secs(6);
/// Renewals: three may fail before the leader steps down by itself ...
const RENEW: Duration = Duration::from_millis(1500);
/// ... which it does well before the lease ends, by its own monotonic clock.
const TRUSTED: Duration = Duration::from_secs(4);
/// After a failed renewal.
const RENEW_AGAIN: Duration = Duration::from_millis(300);
/// Between two looks at a seat that is taken; its end is seen at once through the mirror.
const LOOK: Duration = Duration::from_secs(2);
/// After a term that ended, and after an attempt that failed.
pub(super) const REST: Duration = Duration::from_millis(500);
/// Giving the seat back must not hold up a stop.
const RESIGN: Duration = Duration::from_secs(1);

/// A won election.
pub(super) struct Term {
    lease: LeaseId,
    /// Compared in every write of the term.
    pub(super) fence: Revision,
    since: Instant,
}

/// Returns when this replica is elected.
pub(super) async fn campaign(shared: &Shared) -> Term {
    let mut views = shared.mirror.subscribe();
    loop {
        let is_free = |view: &crate::view::View| {
            view.is_loaded() && view.leader.as_ref().is_none_or(|leader| leader.replica.replica == shared.replica)
        };
        // A mirror that lags must not keep the seat empty: look by itself now and then.
        let _ = tokio::time::timeout(LOOK, views.wait_for(|view| is_free(view))).await;
        // Who cannot follow the store could plan nothing.
        if shared.mirror.status.read_only().is_none() {
            match stand(shared).await {
                Ok(Some(term)) => return term,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "cannot stand for election"),
            }
        }
        tokio::time::sleep(REST).await;
    }
}

/// One attempt; `None`: the seat is taken.
async fn stand(shared: &Shared) -> Result<Option<Term>, Error> {
    let key = shared.layout.leader();
    if let Some(entry) = shared.store.get(&key).await? {
        let held: Option<stored::Replica> = document::read(&entry.value).ok();
        if held.is_some_and(|held| held.replica == shared.replica) {
            // A term of this replica's earlier process: names are unique, so nobody else is fenced out by this.
            let txn = Txn::new().when(Compare::create_revision(&key, entry.create_revision)).delete(&key);
            shared.store.txn(txn).await?;
        } else {
            return Ok(None);
        }
    }
    let since = Instant::now();
    let lease = shared.store.grant_lease(LEASE).await?;
    let replica = stored::Replica { form: FORM, replica: shared.replica.clone(), address: shared.address.clone() };
    let txn = Txn::new().when(Compare::absent(&key)).put_with_lease(&key, document::write(&replica), lease);
    match shared.store.txn(txn).await {
        Ok(outcome) if outcome.succeeded => return Ok(Some(Term { lease, fence: outcome.revision, since })),
        Ok(_) => {}
        Err(Error::OutcomeUnknown { .. }) => {
            let entry = shared.store.get(&key).await?;
            if let Some(entry) = entry.filter(|entry| entry.lease == Some(lease)) {
                return Ok(Some(Term { lease, fence: entry.create_revision, since }));
            }
        }
        Err(error) => return Err(error),
    }
    // It would end by itself; this only saves the store some work.
    let _ = shared.store.revoke_lease(lease).await;
    Ok(None)
}

impl Term {
    /// Renews until that fails for too long; says why the term is over.
    pub(super) async fn keep(&self, shared: &Shared) -> &'static str {
        let mut confirmed = self.since;
        let mut wait = RENEW;
        loop {
            tokio::time::sleep(wait).await;
            // The lease runs from when the renewal was sent, not from when its answer came.
            let sent = Instant::now();
            if sent >= confirmed + TRUSTED {
                return "the lease could not be renewed in time";
            }
            match tokio::time::timeout_at(confirmed + TRUSTED, shared.store.keep_alive(self.lease)).await {
                Ok(Ok(_)) => (confirmed, wait) = (sent, RENEW),
                Ok(Err(Error::LeaseGone)) => return "the lease is gone",
                Ok(Err(_)) => wait = RENEW_AGAIN,
                Err(_) => return "the lease could not be renewed in time",
            }
        }
    }

    /// Gives the seat back, so that nobody waits for the lease.
    pub(super) async fn resign(self, shared: &Shared) {
        let _ = tokio::time::timeout(RESIGN, shared.store.revoke_lease(self.lease)).await;
    }
}
