//! Mistakes of other people's watch loops, as a store that makes them for whoever uses it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_store::{Entry, LeaseId, Listing, Result, Revision, Store, Txn, TxnOutcome, Watch};
use tokio::time::sleep;

/// Between a list and the watch after it, so that something is written meanwhile.
const DAWDLES: Duration = Duration::from_millis(700);
/// Which mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// None, but slow: the time between list and watch is there with every mistake.
    None,
    /// The watch begins at the present and not after the list (APISIX issue 13917).
    StartsFromNow,
}

/// A store with a mistake.
pub(crate) struct Careless {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) mistake: Mistake,
}

async fn watch_from_now(inner: &Arc<dyn Store>, prefix: &str) -> Result<Watch> {
    let now = inner.list(prefix).await?.revision;
    inner.watch(prefix, now.next()).await
}

#[async_trait]
impl Store for Careless {
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        sleep(DAWDLES).await;
        match self.mistake {
            Mistake::None => self.inner.watch(prefix, from).await,
            Mistake::StartsFromNow => watch_from_now(&self.inner, prefix).await,
        }
    }
    async fn cluster_id(&self) -> Result<u64> {
        self.inner.cluster_id().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing> {
        self.inner.list(prefix).await
    }
    async fn list_keys(&self, prefix: &str) -> Result<Listing> {
        self.inner.list_keys(prefix).await
    }
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.inner.txn(txn).await
    }
    async fn compact(&self, at: Revision) -> Result<()> {
        self.inner.compact(at).await
    }
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        self.inner.grant_lease(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.inner.keep_alive(lease).await
    }
    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.inner.revoke_lease(lease).await
    }
}
