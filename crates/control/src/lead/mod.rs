//! What one replica at a time does for all: verdicts, plans, summaries; and what each does to be known.

mod election;
mod evidence;
mod housekeeping;
mod inputs;
mod presence;
mod reconcile;
mod regions;
mod registrar;
mod rollouts;
mod summaries;
mod sweep;
mod upstreams;

use std::sync::Arc;

use crate::shared::Shared;

pub(crate) use inputs::inputs;
pub(crate) use presence::run as presence;
pub(crate) use regions::time;
pub(crate) use registrar::run as registrar;

/// Stands for election, and plans while elected; until the drain.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let term = tokio::select! {
            term = election::campaign(&shared) => term,
            () = shared.shutdown.draining() => return,
        };
        tracing::info!(replica = %shared.replica, fence = term.fence.0, "this replica plans now");
        shared.metrics.leader.set(1);
        let why = tokio::select! {
            biased;
            () = shared.shutdown.draining() => "the replica is stopping",
            why = term.keep(&shared) => why,
            why = reconcile::run(&shared, term.fence) => why,
        };
        shared.metrics.leader.set(0);
        tracing::info!(replica = %shared.replica, why, "this replica plans no longer");
        term.resign(&shared).await;
        if shared.shutdown.is_draining() {
            return;
        }
        tokio::time::sleep(election::REST).await;
    }
}
