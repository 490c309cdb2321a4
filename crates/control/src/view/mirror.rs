//! The loop that follows the store and publishes views.

use std::sync::Arc;
use std::time::Duration;

use meridian_host::Host;
use meridian_store::follow::{Ended, Follower, Interruption, Options};
use meridian_store::{Revision, Store};
use tokio::sync::watch;

use super::View;
use super::apply::apply;
use super::outage::Outage;
use crate::events::{Between, Events};
use crate::metrics::Metrics;
use crate::store::Layout;

/// Between two attempts to read a store that is gone. Short, because everything waits for it and replicas are few.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// The own beacon is written every 10 s; a prefix that stays silent for three of these is not being watched.
const SILENCE: Duration = Duration::from_secs(30);
/// Anti-entropy: the keys alone are listed, a few hundred kilobytes in a large cluster.
const AUDIT: Duration = Duration::from_secs(300);

/// What is wrong with the store; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    trouble: Arc<watch::Sender<Option<String>>>,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self { trouble: Arc::new(watch::Sender::new(None)) }
    }

    /// Why nothing can be written; `None`: nothing is known to be wrong.
    pub(crate) fn read_only(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    fn set(&self, trouble: Option<String>) {
        self.trouble.send_if_modified(|held| {
            let changed = *held != trouble;
            if changed {
                *held = trouble;
            }
            changed
        });
    }
}

/// Views of the store, and whether they are current.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    views: watch::Receiver<Arc<View>>,
    pub(crate) status: Status,
    pub(crate) events: Events,
}

impl Mirror {
    /// A mirror and what [`run`](Feed::run) feeds it with.
    pub(crate) fn new(store: Arc<dyn Store>, layout: Layout, host: Host, metrics: Metrics) -> (Self, Feed) {
        let (publish, views) = watch::channel(Arc::new(View::default()));
        let (status, events) = (Status::new(), Events::new());
        let mirror = Self { views, status: status.clone(), events: events.clone() };
        (mirror, Feed { store, layout, host, metrics, publish, status, events })
    }

    /// The newest view.
    pub(crate) fn view(&self) -> Arc<View> {
        self.views.borrow().clone()
    }

    /// To wait for newer ones.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<View>> {
        self.views.clone()
    }

    /// The first view that is not empty, within `limit`.
    ///
    /// # Errors
    /// `unavailable`, with what is wrong with the store if that is known.
    pub(crate) async fn loaded(&self, limit: Duration) -> Result<Arc<View>, tonic::Status> {
        let mut views = self.views.clone();
        let loaded = tokio::time::timeout(limit, views.wait_for(|view| view.is_loaded())).await;
        if let Ok(Ok(view)) = loaded {
            return Ok(view.clone());
        }
        let trouble = self.status.read_only().map(|trouble| format!(": {trouble}")).unwrap_or_default();
        Err(tonic::Status::unavailable(format!("the store was not read yet{trouble}")))
    }

    /// Returns when the view holds `revision`, or after `limit`: a caller must see its own write.
    pub(crate) async fn wait_for(&self, revision: Revision, limit: Duration) {
        let mut views = self.views.clone();
        let reached = views.wait_for(|view| view.revision >= revision);
        // Late is no error: the write is done.
        let _ = tokio::time::timeout(limit, reached).await;
    }
}

/// The writing end of a mirror.
pub(crate) struct Feed {
    store: Arc<dyn Store>,
    layout: Layout,
    host: Host,
    metrics: Metrics,
    publish: watch::Sender<Arc<View>>,
    status: Status,
    events: Events,
}

impl Feed {
    /// Follows for ever.
    ///
    /// # Errors
    /// The store is another one than before, or went back in time: nothing that this process knows can be trusted.
    pub(crate) async fn run(self) -> Result<(), Ended> {
        let mut options = Options::new(self.layout.prefix());
        options.backoff_max = BACKOFF_MAX;
        options.silence = Some(SILENCE);
        options.audit = Some(AUDIT);
        let entropy = self.host.entropy.clone();
        let mut follower = Follower::new(self.store.clone(), options, Box::new(move || entropy.unit()));
        let mut store_id = 0;
        let mut outage = Outage::default();
        loop {
            match follower.next().await {
                Ok(change) => {
                    let (resync, between) = (change.resync, Between::of(&change));
                    let view = self.publish.borrow().clone();
                    let (mut next, unreadable) = apply(&self.layout, &view, change);
                    for (key, error) in unreadable {
                        tracing::error!(%key, error = &error as &dyn std::error::Error, "stored document is unusable");
                    }
                    if resync {
                        // The follower has asked, and refuses any other from now on.
                        store_id = self.store.cluster_id().await.unwrap_or(store_id);
                        self.status.set(None);
                        outage.over();
                    }
                    next.cluster_id = if next.restored_id == 0 { store_id } else { next.restored_id };
                    self.metrics.revision.set(i64::try_from(next.revision.0).unwrap_or(i64::MAX));
                    let next = Arc::new(next);
                    self.publish.send_replace(next.clone());
                    self.events.take(&view, &next, between, self.host.clock.now_unix_ms());
                }
                Err(Interruption::Ended(ended)) => return Err(ended),
                Err(Interruption::Retrying(cause)) => {
                    self.metrics.store_interruptions.inc();
                    outage.tell(self.publish.borrow().is_loaded(), &cause.to_string());
                    self.status.set(Some(cause.to_string()));
                }
            }
        }
    }
}
