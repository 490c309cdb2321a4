//! What the node tells the control plane about itself.

use std::sync::Arc;

use meridian_control_client::{Served, Vitals};
use meridian_proto::node::v1;

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
    } else if node.admission.is_full() {
        v1::ServingState::Overloaded
    } else {
        v1::ServingState::Serving
    };
    // The digest is taken of what is in use, not copied from what was said to be delivered.
    let served = snapshot
        .map(|snapshot| Served { commit: snapshot.published.commit, digest: snapshot.published.content.digest() });
    Vitals { state, in_flight: node.admission.in_flight(), served }
}

/// The heavy part; begins a new window.
pub(crate) fn report(node: &Node) -> v1::Report {
    let window = std::mem::replace(&mut *node.window(), Window::new());
    let targets = node.snapshot.load().as_ref().filter(|_| node.serves_http).map(|snapshot| {
        let account = |target: &Target| snapshot.providers.get(&target.id.provider).map(Arc::as_ref);
        let reports = snapshot.targets.values().map(|target| target.report(account(target)));
        reports.collect()
    });
    v1::Report {
        window_ms: u32::try_from(window.since.elapsed().as_millis()).unwrap_or(u32::MAX),
        requests_started: window.started,
        requests_finished: window.finished,
        requests_shed: window.shed,
        first_token_p50_ms: window.first_token.quantile_ms(0.5),
        first_token_p99_ms: window.first_token.quantile_ms(0.99),
        mean_duration_ms: window.mean_duration_ms(),
        errors: window
            .errors
            .into_iter()
            .map(|(class, count)| v1::ClassCount { class: class.as_str().to_owned(), count })
            .collect(),
        targets: targets.unwrap_or_default(),
        observations: node.peers.observations(),
        loop_lag_ms: node.lag.take_ms(),
    }
}
