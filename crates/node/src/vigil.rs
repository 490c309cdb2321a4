//! Probes providers: finds the dead before a client's request does, and the recovered before their cool-down is over.

use std::sync::Arc;
use std::time::Duration;

use meridian_resilience::Verdict;
use meridian_upstream::{Probed, Sign};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::account::Account;
use crate::node::Node;
use crate::target::Target;
use crate::ticket::Changes;

/// How often it is looked whose turn it is: fine enough for the shortest interval of a second.
const TICK: Duration = Duration::from_millis(500);

/// Probes under way at once; the rest waits for the next tick.
const MAX_PROBES: usize = 64;

/// Probes every provider when its turn comes, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::time::sleep(TICK).await;
        while under_way.try_join_next().is_some() {}
        let Some(snapshot) = node.snapshot.load_full() else { continue };
        let off = node.switches.load_full();
        for (name, account) in &snapshot.providers {
            // No call at all means no probe either: a leaked key is not used, and what is not to be asked need not be known.
            if off.is_all_off(name.as_str()) {
                continue;
            }
            let targets: Vec<_> =
                snapshot.targets.values().filter(|target| target.id.provider == *name).map(Arc::clone).collect();
            let needed = targets.iter().any(|target| target.is_ejected() && !off.is_off(&target.id));
            let unit = node.host.entropy.unit();
            if under_way.len() < MAX_PROBES && account.probe_is_due(needed, Instant::now(), unit) {
                under_way.spawn(probe(Arc::clone(&node), Arc::clone(account), targets));
            }
        }
    }
}

async fn probe(node: Arc<Node>, account: Arc<Account>, targets: Vec<Arc<Target>>) {
    let name = &account.upstream.provider().name;
    let Probed { sign, status, why } = account.upstream.probe().await;
    // A provider that an operator lets fail whole must not look alive meanwhile.
    let is_failed = node.faults.fails_probe(name.as_str(), || node.host.entropy.unit());
    let sign = if is_failed { Sign::Dead } else { sign };
    node.metrics.probed(name, sign);
    tracing::debug!(provider = %name, ?sign, status, why, "provider probed");
    let good = match sign {
        Sign::Alive => true,
        Sign::Dead => false,
        Sign::Unclear => {
            if account.probed_in_vain() {
                tracing::warn!(provider = %name, status, why, "probes of the provider say nothing about its life");
            }
            return;
        }
    };
    let verdict = account.probed(good);
    if !good {
        let next = Instant::now() + account.next_probe_within() + account.upstream.probe_deadline();
        for target in &targets {
            let state = &mut *target.state();
            state.breaker.stays_dead(next);
            if !is_failed {
                state.found_down();
            }
        }
    }
    let Some(verdict) = verdict else { return };
    for target in targets {
        let unit = node.host.entropy.unit();
        let change = {
            let breaker = &mut target.state().breaker;
            match verdict {
                Verdict::Alive => breaker.looks_alive(),
                Verdict::Dead => breaker.looks_dead(Instant::now(), unit),
            }
        };
        node.metrics.changed(&target.id, Changes { target: change, credential: None });
    }
}
