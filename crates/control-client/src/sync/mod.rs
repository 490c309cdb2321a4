//! The Sync lane: configuration and accounts, from one replica at a time.
//!
//! The choice of the replica is ours, not tonic's balanced channel, which goes on choosing endpoints that are dead:
//! one channel to one endpoint, kept while it works, the next one when it fails.

mod apply;
mod assemble;
mod session;

use std::sync::Arc;
use std::time::Duration;

use meridian_host::jitter;
use meridian_types::Digest;
use tokio::sync::Mutex;
use tokio::time::Instant;

use apply::Applier;
use session::{Ended, Session};

use crate::Options;
use crate::backoff::Backoff;
use crate::breaker::Breaker;
use crate::dial::dial;
use crate::handle::Shared;
use crate::keeper::Flush;
use crate::metrics::Metrics;

/// Waits between attempts stay below this.
const BACKOFF_LIMIT: Duration = Duration::from_secs(30);
/// A session that lasted this long was a good one: the next attempt is soon again.
const GOOD: Duration = Duration::from_secs(10);
/// A replica may ask to stay away for so long at most.
const MAX_GOAWAY: Duration = Duration::from_secs(60);
/// When a pulse finds a replica again the lane need not wait out its backoff; all nodes notice at once, so each
/// waits a random part of this.
const SPREAD: Duration = Duration::from_secs(1);

/// Keeps the lane.
pub(crate) struct Lane {
    options: Options,
    shared: Arc<Shared>,
    metrics: Metrics,
    applier: Arc<Applier>,
    flush: Flush,
    /// Which endpoint is tried next.
    index: usize,
    /// The next hello says that nothing is held.
    ask_whole: bool,
}

impl Lane {
    pub(crate) fn new(
        options: &Options,
        shared: &Arc<Shared>,
        metrics: &Metrics,
        breaker: &Arc<Mutex<Breaker>>,
        flush: Flush,
    ) -> Self {
        let applier = Applier { options: options.clone(), shared: shared.clone(), breaker: breaker.clone() };
        // Nodes spread over the replicas by their names, so that a restart goes where it was before.
        let start = Digest::of(options.identity.name.as_str().as_bytes()).0[0];
        Self {
            index: usize::from(start) % options.endpoints.len().max(1),
            options: options.clone(),
            shared: shared.clone(),
            metrics: metrics.clone(),
            applier: Arc::new(applier),
            flush,
            ask_whole: false,
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(BACKOFF_LIMIT);
        while let Some(endpoint) = self.options.endpoints.get(self.index).cloned() {
            let began = Instant::now();
            let ended = self.attempt(&endpoint).await;
            if began.elapsed() >= GOOD {
                backoff.reset();
            }
            tracing::info!(endpoint, why = %ended, "sync ended");
            match ended {
                Ended::Goaway { after, .. } => {
                    self.next_endpoint();
                    tokio::time::sleep(after.min(MAX_GOAWAY)).await;
                }
                Ended::NeedsWhole => {
                    self.ask_whole = true;
                    tokio::time::sleep(backoff.wait(&*self.options.host.entropy)).await;
                }
                Ended::Failed(_) => {
                    self.next_endpoint();
                    self.rest(backoff.wait(&*self.options.host.entropy)).await;
                }
            }
        }
        tracing::warn!("no control endpoint is configured; serving what is held");
        std::future::pending::<()>().await;
    }

    async fn attempt(&mut self, endpoint: &str) -> Ended {
        let channel = match dial(endpoint, self.options.tls.clone(), &self.options.host).await {
            Ok(channel) => channel,
            Err(error) => {
                let cause = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
                return Ended::Failed(cause);
            }
        };
        let mut session = Session {
            options: &self.options,
            shared: &self.shared,
            metrics: &self.metrics,
            applier: &self.applier,
            flush: &self.flush,
            index: self.index,
            ask_whole: &mut self.ask_whole,
        };
        session.run(channel).await
    }

    fn next_endpoint(&mut self) {
        self.index = (self.index + 1) % self.options.endpoints.len().max(1);
    }

    /// Waits, but not much longer than until a replica is found again.
    async fn rest(&self, wait: Duration) {
        let mut links = self.shared.links.subscribe();
        let up = |links: &crate::handle::Links| links.sessions.iter().filter(|s| s.state.is_up()).count();
        let before = up(&links.borrow_and_update());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = async { drop(links.wait_for(|links| up(links) > before).await) } => {
                tokio::time::sleep(jitter(&*self.options.host.entropy, SPREAD)).await;
            }
        }
    }
}
