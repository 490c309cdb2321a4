//! While the control plane is gone, nodes agree by themselves which regions are: these leave this node's DNS answers, and
//! the plan's contingency for the loss holds. With the control plane there, its plan alone speaks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use meridian_control_client::{self as control_client, ControlState};
use meridian_health::agreement;
use meridian_types::RegionName;

use crate::node::Node;

/// More often than probes of one peer come in, also when they hurry.
const INTERVAL: Duration = Duration::from_millis(100);

/// Something on the Internet answers a new connection within this time, or the way there is not one to rely on.
const WITNESS: Duration = Duration::from_secs(2);

/// Runs for ever. `control` is `None` for a node that has no control plane at all.
pub(crate) async fn run(
    node: Arc<Node>,
    own: RegionName,
    dns: meridian_dns::Handle,
    control: Option<control_client::Handle>,
    witness: Option<Uri>,
) {
    let witness = witness.map(|url| (node.transport.prober(WITNESS), url));
    let mut held = BTreeSet::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let is_led = control.as_ref().is_some_and(|control| control.control_state() == ControlState::Connected);
        let gone = if is_led {
            BTreeSet::new()
        } else {
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
        };
        if gone != held {
            let names: Vec<&str> = gone.iter().map(RegionName::as_str).collect();
            tracing::warn!(gone = ?names, "without a control plane the nodes agree on the regions that are gone");
            dns.set_gone(gone.clone());
            held = gone;
        }
    }
}

/// As the configuration has it, and not as probes happen to show it.
fn has_two_regions(node: &Node) -> bool {
    node.snapshot.load().as_ref().is_some_and(|snapshot| snapshot.published.configuration.regions.len() == 2)
}
