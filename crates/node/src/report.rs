//! What the node tells the control plane about itself.

use std::sync::Arc;
use std::time::Duration;

use meridian_control_client::{Served, Vitals};
use meridian_proto::convert;
use meridian_proto::node::v1;
use meridian_types::RegionName;

use crate::node::Node;
use crate::target::Target;
use crate::window::Window;

/// The light part, four times a second.
pub(crate) fn vitals(node: &Node) -> Vitals {
    let snapshot = node.snapshot.load_full();
    let state = if node.shutdown.is_draining() {
        v1::ServingState::Draining
    } else if snapshot.is_none() {
        v1::ServingState::Starting
    } else if node.admission.is_full(node.pressure()) {
        v1::ServingState::Overloaded
    } else {
        v1::ServingState::Serving
    };
    // The digest is taken of what is in use, not copied from what was said to be delivered.
    let served = snapshot.map(|snapshot| Served {
        commit: snapshot.published.commit,
        digest: snapshot.published.content.digest(),
        tables: snapshot.tables_digest(),
    });
    Vitals { state, in_flight: node.admission.in_flight(), served }
}

/// The heavy part; begins a new window.
pub(crate) fn report(node: &Node) -> v1::Report {
    let window = std::mem::replace(&mut *node.window(), Window::new());
    let targets = node.snapshot.load().as_ref().filter(|_| node.serves_http).map(|snapshot| {
        let off = node.switches.load();
        let account = |target: &Target| snapshot.providers.get(&target.id.provider).map(Arc::as_ref);
        let reports = snapshot.targets.values().map(|target| target.report(account(target), off.is_off(&target.id)));
        reports.collect()
    });
    v1::Report {
        window_ms: u32::try_from(window.since.elapsed().as_millis()).unwrap_or(u32::MAX),
        requests_started: window.started,
        requests_finished: window.finished,
        requests_shed: window.shed,
        first_token_p50_ms: window.first_tokens.quantile_ms(0.5).unwrap_or_default(),
        first_token_p99_ms: window.first_tokens.quantile_ms(0.99).unwrap_or_default(),
        mean_duration_ms: window.mean_duration_ms(),
        errors: window
            .errors
            .into_iter()
            .map(|(class, count)| v1::ClassCount { class: class.as_str().to_owned(), count })
            .collect(),
        targets: targets.unwrap_or_default(),
        observations: node.peers.observations(),
        loop_lag_ms: node.lag.take_ms(),
        dns: node.dns.as_ref().map(|dns| served(&dns.served())),
        first_tokens: convert::latencies_to_wire(&window.first_tokens),
        left_out: node.left_out.report(node.now_unix_ms()),
    }
}

fn served(served: &meridian_dns::Served) -> v1::DnsServed {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let region = |(region, naming): (&RegionName, &meridian_dns::Naming)| {
        let (name, permille) = naming.named.as_ref().map(|(name, permille)| (name.to_string(), *permille)).unzip();
        v1::DnsRegion {
            region: region.to_string(),
            name: name.unwrap_or_default(),
            permille: permille.unwrap_or_default(),
            unnamed_for_ms: ms(naming.unnamed_for),
            cached_for_ms: ms(naming.cached_for),
        }
    };
    let plan = served.plan.unwrap_or_default();
    v1::DnsServed {
        plan_epoch: plan.epoch,
        plan_number: plan.number,
        regions: served.regions.iter().map(region).collect(),
    }
}
