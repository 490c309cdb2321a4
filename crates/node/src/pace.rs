//! Leaves targets alone for a while that begin their answers far later than the others of their tier.
//!
//! They serve, so that this is a suspicion only: planning asks them all the same where too few others are left. They come
//! back as after failures, one look at a time and then a growing share, and are left alone for longer if nothing has changed.

use std::sync::Arc;
use std::time::Duration;

use meridian_resilience::far_slower;
use tokio::time::Instant;

use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::ticket::Changes;

/// How often tiers are compared: a target that has turned slow is found out a second after enough answers have shown it.
const TICK: Duration = Duration::from_secs(1);

/// Compares for ever.
pub(crate) async fn run(node: Arc<Node>) {
    loop {
        tokio::time::sleep(TICK).await;
        if let Some(snapshot) = node.snapshot.load_full() {
            compare(&node, &snapshot);
        }
    }
}

fn compare(node: &Node, snapshot: &Snapshot) {
    for tier in snapshot.table.tiers() {
        let targets: Vec<_> = tier.iter().filter_map(|id| snapshot.targets.get(*id)).collect();
        let now = Instant::now();
        let medians: Vec<_> = targets.iter().map(|target| target.state().first_tokens.quantile_ms(0.5, now)).collect();
        for slow in far_slower(&medians) {
            let Some(target) = targets.get(slow) else { continue };
            let mut state = target.state();
            let change = state.breaker.looks_slow(now, node.host.entropy.unit());
            if change.is_some() {
                state.first_tokens.clear();
            }
            drop(state);
            node.metrics.changed(&target.id, Changes { target: change, credential: None });
        }
    }
}
