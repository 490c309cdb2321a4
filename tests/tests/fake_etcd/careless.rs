//! Mistakes of other people's watch loops, as a store that makes them for whoever uses it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use meridian_store::{Batch, Entry, LeaseId, Listing, Result, Revision, Store, Txn, TxnOutcome, Watch};
use tokio::time::{Instant, sleep, timeout_at};

/// Between a list and the watch after it, so that something is written meanwhile.
const DAWDLES: Duration = Duration::from_millis(700);
/// A watch that times out does so after this long.
const TIMES_OUT: Duration = Duration::from_secs(2);

/// Which mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// None, but slow: the time between list and watch is there with every mistake.
    None,
    /// The watch begins at the present and not after the list (APISIX issue 13917).
    StartsFromNow,
    /// None: a watch times out, and the next one begins after the last change that it delivered.
    TimesOut,
    /// As above, but the next one begins where another connection says that the store is by then (APISIX issue 13067).
    SkipsOnTimeout,
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

/// A watch that times out again and again, and of which its reader notices nothing.
struct TimingOut {
    inner: Arc<dyn Store>,
    prefix: String,
    skips: bool,
    /// The next change that is wanted.
    from: Revision,
    /// The watch of now, and when it times out.
    open: Option<(Watch, Instant)>,
}

impl TimingOut {
    async fn next(&mut self) -> Result<Batch> {
        loop {
            let Some((watch, ends)) = &mut self.open else {
                let watch = self.inner.watch(&self.prefix, self.from).await?;
                self.open = Some((watch, Instant::now() + TIMES_OUT));
                continue;
            };
            match timeout_at(*ends, watch.recv()).await {
                Ok(received) => {
                    let batch = received?;
                    self.from = batch.revision.next();
                    return Ok(batch);
                }
                Err(_) => self.open = None,
            }
            sleep(DAWDLES).await;
            if self.skips {
                self.from = self.inner.list(&self.prefix).await?.revision.next();
            }
        }
    }

    fn watch(self) -> Watch {
        Watch::new(stream::unfold(self, |mut watch| async move {
            let received = watch.next().await;
            Some((received, watch))
        }))
    }
}

#[async_trait]
impl Store for Careless {
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        sleep(DAWDLES).await;
        match self.mistake {
            Mistake::None => self.inner.watch(prefix, from).await,
            Mistake::StartsFromNow => watch_from_now(&self.inner, prefix).await,
            Mistake::TimesOut | Mistake::SkipsOnTimeout => {
                let (inner, prefix) = (self.inner.clone(), prefix.to_owned());
                let skips = self.mistake == Mistake::SkipsOnTimeout;
                Ok(TimingOut { inner, prefix, skips, from, open: None }.watch())
            }
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
