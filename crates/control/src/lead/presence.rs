//! Every replica says that it lives, and proves to itself that it can write and sees what it wrote.

use std::sync::Arc;
use std::time::Duration;

use meridian_proto::store::v1 as stored;
use meridian_store::{Error, LeaseId, Revision, Txn};
use tokio::time::Instant;

use crate::shared::Shared;
use crate::store::document::{self, FORM};

/// A replica that vanishes is unlisted after this long.
const LEASE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(3);
/// Between two beacons ...
const BEACON: Duration = Duration::from_secs(10);
/// ... of which three may fail to come back before something is wrong.
const BLIND: Duration = Duration::from_secs(30);
/// After an attempt that failed.
const RETRY: Duration = Duration::from_millis(500);
/// A beacon comes back within a round trip; later than this it counts as not seen yet.
const RETURN: Duration = Duration::from_secs(2);
/// Giving the registration back must not hold up a stop.
const RESIGN: Duration = Duration::from_secs(1);

/// Runs until the drain.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut presence = Presence { lease: None, beacon_at: None, seen_at: None };
    let mut was_ready = false;
    while !shared.shutdown.is_draining() {
        let wait = match presence.step(&shared).await {
            Ok(()) => RENEW,
            Err(error) => {
                tracing::debug!(%error, "presence could not be renewed");
                RETRY
            }
        };
        presence.tell(&shared);
        let readiness = shared.readiness.check();
        if readiness.is_ok() != was_ready {
            was_ready = readiness.is_ok();
            match readiness {
                Ok(()) => tracing::info!(replica = shared.replica, "control plane serves"),
                Err(why) => tracing::warn!(replica = shared.replica, why, "control plane is not ready any more"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.shutdown.draining() => {}
        }
    }
    shared.readiness.not_ready("the replica is stopping");
    if let Some(lease) = presence.lease {
        let _ = tokio::time::timeout(RESIGN, shared.store.revoke_lease(lease)).await;
    }
}

struct Presence {
    lease: Option<LeaseId>,
    beacon_at: Option<Instant>,
    /// When a beacon last came back through the watch.
    seen_at: Option<Instant>,
}

impl Presence {
    async fn step(&mut self, shared: &Shared) -> Result<(), Error> {
        let lease = match self.lease {
            Some(lease) => match shared.store.keep_alive(lease).await {
                Err(Error::LeaseGone) => self.register(shared).await?,
                Err(error) => return Err(error),
                Ok(_) => lease,
            },
            None => self.register(shared).await?,
        };
        self.lease = Some(lease);
        if self.beacon_at.is_none_or(|at| at.elapsed() >= BEACON) {
            let revision = beacon(shared).await?;
            self.beacon_at = Some(Instant::now());
            shared.mirror.wait_for(revision, RETURN).await;
            if shared.mirror.view().revision >= revision {
                self.seen_at = Some(Instant::now());
            }
        }
        Ok(())
    }

    async fn register(&mut self, shared: &Shared) -> Result<LeaseId, Error> {
        self.lease = None;
        let lease = shared.store.grant_lease(LEASE).await?;
        let replica = stored::Replica { form: FORM, replica: shared.replica.clone(), address: shared.address.clone() };
        let key = shared.layout.replica(&shared.replica);
        shared.store.txn(Txn::new().put_with_lease(key, document::write(&replica), lease)).await?;
        Ok(lease)
    }

    fn tell(&self, shared: &Shared) {
        match self.seen_at {
            Some(at) if at.elapsed() < BLIND => shared.readiness.ready(),
            Some(_) => shared.readiness.not_ready("the replica's own writes do not come back through its watch"),
            None if shared.mirror.view().is_loaded() => shared.readiness.not_ready("the store cannot be written"),
            None => shared.readiness.not_ready("the store was not read yet"),
        }
    }
}

/// Counts on from what the store holds: another process of the same name may have written before.
async fn beacon(shared: &Shared) -> Result<Revision, Error> {
    let count = shared.mirror.view().beacons.get(&shared.replica).map_or(1, |count| count.saturating_add(1));
    let beacon = stored::Beacon { form: FORM, count };
    let txn = Txn::new().put(shared.layout.beacon(&shared.replica), document::write(&beacon));
    Ok(shared.store.txn(txn).await?.revision)
}
