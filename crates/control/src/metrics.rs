//! What a replica counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of [`Metrics::admin_calls`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AdminCall {
    /// Name of the call.
    pub(crate) call: &'static str,
    /// `ok`, or the gRPC status as text.
    pub(crate) outcome: &'static str,
}

/// Labels of [`Metrics::streams`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Lane {
    /// `sync` or `pulse`.
    pub(crate) lane: &'static str,
}

/// Handles of every metric; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) admin_calls: Family<AdminCall, Counter>,
    pub(crate) streams: Family<Lane, Gauge>,
    pub(crate) beats: Counter,
    pub(crate) nacks: Counter,
    pub(crate) plans: Counter,
    pub(crate) refused_plans: Counter,
    pub(crate) fenced: Counter,
    pub(crate) store_interruptions: Counter,
    pub(crate) revision: Gauge,
    pub(crate) leader: Gauge,
    pub(crate) braked: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("meridian_control");
        registry.register("admin_calls", "Calls of operators", metrics.admin_calls.clone());
        registry.register("node_streams", "Open streams of nodes", metrics.streams.clone());
        registry.register("beats", "Beats received", metrics.beats.clone());
        registry.register("nacks", "Commits refused by nodes", metrics.nacks.clone());
        registry.register("plans", "Plans published by this replica", metrics.plans.clone());
        registry.register(
            "refused_plans",
            "Plans of this replica that would have broken a promise and were not published; above 0 somebody must look",
            metrics.refused_plans.clone(),
        );
        registry.register("fenced_writes", "Writes refused because another replica leads", metrics.fenced.clone());
        registry.register(
            "store_interruptions",
            "Times that the watch of the store was lost",
            metrics.store_interruptions.clone(),
        );
        registry.register("store_revision", "Revision of the mirrored store", metrics.revision.clone());
        registry.register(
            "braked_nodes",
            "Nodes that look dead but are frozen because too many went at once; above 0 somebody must look",
            metrics.braked.clone(),
        );
        registry.register("leader", "Whether this replica makes plans", metrics.leader.clone());
        metrics
    }
}
