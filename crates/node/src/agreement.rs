//! While nobody plans, nodes agree by themselves which regions are gone: these leave this node's DNS answers, and the
//! plan's contingency for the loss holds. With somebody who plans, the plan alone speaks.
//!
//! Nobody plans when no control replica answers, and also when those that do have lost the store, or have no leader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use meridian_control_client as control_client;
use meridian_health::{UNSEEN_GRACE, agreement};
use meridian_types::RegionName;
use tokio::time::Instant;

use crate::node::Node;

/// More often than probes of one peer come in, also when they hurry.
const INTERVAL: Duration = Duration::from_millis(100);

/// Something on the Internet answers a new connection within this time, or the way there is not one to rely on.
const WITNESS: Duration = Duration::from_secs(2);

/// For so long after somebody plans again what was agreed stays, unless probes find the region alive: the plan that stands
/// then may be older than the loss, and a replica that started judges nobody sooner than after half of this.
const SETTLES: Duration = UNSEEN_GRACE.saturating_mul(2);

/// Who decides now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The nodes.
    Agreement,
    /// The plan; of what was agreed before, that which still holds stays.
    Settling,
    /// The plan.
    Plan,
}

/// Since when somebody plans.
#[derive(Default)]
struct Lead {
    since: Option<Instant>,
}

impl Lead {
    fn rule(&mut self, is_led: bool) -> Rule {
        self.since = is_led.then(|| self.since.unwrap_or_else(Instant::now));
        match self.since {
            None => Rule::Agreement,
            Some(since) if since.elapsed() < SETTLES => Rule::Settling,
            Some(_) => Rule::Plan,
        }
    }
}

/// Runs for ever. `control` is `None` for a node that has no control plane at all.
pub(crate) async fn run(
    node: Arc<Node>,
    own: RegionName,
    dns: meridian_dns::Handle,
    control: Option<control_client::Handle>,
    witness: Option<Uri>,
) {
    let witness = witness.map(|url| (node.transport.prober(WITNESS), url));
    let mut lead = Lead::default();
    let mut held = BTreeSet::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let gone = match lead.rule(control.as_ref().is_some_and(control_client::Handle::is_led)) {
            Rule::Plan => BTreeSet::new(),
            Rule::Settling => {
                let (probes, told) = node.peers.evidence();
                let still = agreement::gone(&own, &probes, &told, false, &held);
                held.intersection(&still).cloned().collect()
            }
            Rule::Agreement => {
                let (probes, told) = node.peers.evidence();
                let witnessed = match &witness {
                    Some((prober, url)) if has_two_regions(&node) && agreement::asks_witness(&own, &probes, &held) => {
                        // Whatever it answers: that it does proves the way out.
                        let answered = prober.get(url.clone()).await.is_ok();
                        tracing::info!(witness = %url, answered, "the other region is lost: asked the witness");
                        answered
                    }
                    _ => false,
                };
                agreement::gone(&own, &probes, &told, witnessed, &held)
            }
        };
        if gone != held {
            let names: Vec<&str> = gone.iter().map(RegionName::as_str).collect();
            tracing::warn!(gone = ?names, "regions that are left out of DNS answers, by agreement of the nodes");
            dns.set_gone(gone.clone());
            node.left_out.set(&gone, node.now_unix_ms());
            held = gone;
        }
    }
}

/// As the configuration has it, and not as probes happen to show it.
fn has_two_regions(node: &Node) -> bool {
    node.snapshot.load().as_ref().is_some_and(|snapshot| snapshot.published.configuration.regions.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_agreed_stays_until_who_plans_had_time_to_judge() {
        let mut lead = Lead::default();
        assert_eq!(lead.rule(false), Rule::Agreement);
        assert_eq!(lead.rule(true), Rule::Settling);
        tokio::time::advance(SETTLES - INTERVAL).await;
        assert_eq!(lead.rule(true), Rule::Settling);
        tokio::time::advance(INTERVAL).await;
        assert_eq!(lead.rule(true), Rule::Plan);
        assert_eq!(lead.rule(false), Rule::Agreement);
        assert_eq!(lead.rule(true), Rule::Settling);
    }
}
