//! The service that keeps both lanes.

use std::sync::Arc;
use std::time::Duration;

use meridian_lifecycle::{Kind, Shutdown, Tasks};
use prometheus_client::registry::Registry;
use tokio::sync::{Mutex, Notify, watch};

use crate::boot::boot;
use crate::breaker::Breaker;
use crate::handle::{Handle, Links, Shared};
use crate::held::Held;
use crate::keeper::Keeper;
use crate::last_known_good::Store;
use crate::metrics::Metrics;
use crate::{Options, pulse, sync};

/// The marker of the crash-loop breaker is removed within this time at a stop, or not at all.
const CLEAR_DEADLINE: Duration = Duration::from_secs(1);

/// Between looks at whether the process outlived the commit it applied; that takes a minute.
const LOOK: Duration = Duration::from_secs(5);

/// Keeps the lanes of one node.
pub struct Service {
    options: Options,
    metrics: Metrics,
    handle: Handle,
}

impl Service {
    /// A service that does nothing until it runs; its metrics go to `registry`.
    pub fn new(options: Options, registry: &mut Registry) -> Self {
        let shared = Shared {
            held: watch::Sender::new(Held::default()),
            links: watch::Sender::new(Links::new(&options.endpoints)),
            refused: watch::Sender::new(None),
            unsaved: watch::Sender::default(),
            report_now: Notify::new(),
        };
        Self { options, metrics: Metrics::new(registry), handle: Handle { shared: Arc::new(shared) } }
    }

    /// Looks at this service, also while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts from the last-known-good file, then keeps the lanes until the shutdown is *forced*: a draining node goes
    /// on beating, so that the control plane sees it drain.
    pub async fn run(self, shutdown: Shutdown) {
        let Self { options, metrics, handle: Handle { shared } } = self;
        let mut store = Store::new(options.host.clone(), options.state_dir.clone());
        let mut breaker = Breaker::open(options.host.clone(), &options.state_dir).await;
        let generations = store.load().await;
        let held = boot(&options, generations, &mut breaker).await;
        metrics.commit.set(held.commit.as_ref().map_or(0, |commit| commit.id.0));
        shared.held.send_replace(held);

        let breaker = Arc::new(Mutex::new(breaker));
        let entropy = options.host.entropy.clone();
        let (keeper, flush) =
            Keeper::new(store, shared.held.subscribe(), shared.unsaved.clone(), entropy, metrics.clone());
        let lane = sync::Lane::new(&options, &shared, &metrics, &breaker, flush);
        let (hub, sessions) = pulse::Hub::new(&options, &shared, &metrics);

        let (trigger, stop) = shutdown.child();
        let tasks = Tasks::new(trigger, stop.clone());
        tasks.spawn("last-known-good", Kind::Essential, keeper.run());
        tasks.spawn("sync", Kind::Essential, lane.run());
        tasks.spawn("pulse", Kind::Essential, hub.run());
        for session in sessions {
            tasks.spawn("pulse-session", Kind::Essential, session.run());
        }
        tasks.spawn("crash-loop-breaker", Kind::Helper, watch_survival(breaker.clone(), stop.clone()));
        stop.forced().await;
        // An ordered stop is no death; a commit may have been applied since the drain began.
        let _ = tokio::time::timeout(CLEAR_DEADLINE, async { breaker.lock().await.survived().await }).await;
        tasks.finished().await;
    }
}

/// Lets the breaker look whether the newest commit has been served for long enough, and tells it of an ordered stop.
async fn watch_survival(breaker: Arc<Mutex<Breaker>>, stop: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => breaker.lock().await.look().await,
            () = stop.draining() => return breaker.lock().await.survived().await,
        }
    }
}
