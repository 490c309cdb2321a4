//! While nobody plans, nodes agree by themselves which regions are gone: these leave this node's DNS answers, and the
//! plan's contingency for the loss holds. With somebody who plans, the plan alone speaks.
//!
//! Nobody plans when no control replica answers, and also when those that do have lost the store, or have no leader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use meridian_control_client as control_client;
use meridian_health::UNSEEN_GRACE;
use meridian_health::agreement::{self, Observer};
use meridian_types::RegionName;
use meridian_upstream::Prober;
use tokio::time::Instant;

use crate::node::Node;

/// More often than probes of one peer come in, also when they hurry.
const INTERVAL: Duration = Duration::from_millis(100);

/// Something on the Internet answers a new connection within this time, or the way there is not one to rely on.
const WITNESS: Duration = Duration::from_secs(2);

/// The witness is asked this often at most: it is somebody else's, and may refuse for as long as the other region is lost.
const ASKS: Duration = Duration::from_secs(1);

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

/// What stands for a third region where there is none.
struct Witness {
    prober: Prober,
    url: Uri,
    asked: Option<Instant>,
}

impl Witness {
    /// Whether it answers, whatever that is: it proves the way out. False also when it was asked just before.
    async fn answers(&mut self) -> bool {
        if self.asked.is_some_and(|at| at.elapsed() < ASKS) {
            return false;
        }
        self.asked = Some(Instant::now());
        let answered = self.prober.get(self.url.clone()).await.is_ok();
        tracing::info!(witness = %self.url, answered, "the other region is lost: asked the witness");
        answered
    }
}

/// Runs for ever. `control` is `None` for a node that has no control plane at all.
pub(crate) async fn run(
    node: Arc<Node>,
    dns: meridian_dns::Handle,
    control: Option<control_client::Handle>,
    witness: Option<Uri>,
) {
    let own = Observer { region: &node.region, serves: node.serves_http };
    let mut witness = witness.map(|url| Witness { prober: node.transport.prober(WITNESS), url, asked: None });
    let mut lead = Lead::default();
    let mut held = BTreeSet::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let gone = match lead.rule(control.as_ref().is_some_and(control_client::Handle::is_led)) {
            Rule::Plan => BTreeSet::new(),
            Rule::Settling => {
                let (probes, told) = node.peers.evidence();
                let still = agreement::gone(own, &probes, &told, false, &held);
                held.intersection(&still).cloned().collect()
            }
            Rule::Agreement => {
                let (probes, told) = node.peers.evidence();
                let asks = has_two_regions(&node) && agreement::asks_witness(own, &probes, &held);
                let witnessed = match witness.as_mut().filter(|_| asks) {
                    Some(witness) => witness.answers().await,
                    None => false,
                };
                agreement::gone(own, &probes, &told, witnessed, &held)
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
