//! What the listener counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::Callers;

/// Labels of an answer; both from closed sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Answered {
    /// The route's pattern, `other` for unknown paths.
    pub(crate) route: &'static str,
    /// HTTP status.
    pub(crate) status: u16,
}

/// The listener's metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) responses: Family<Answered, Counter>,
}

impl Metrics {
    pub(crate) fn register(callers: Callers, registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix(match callers {
            Callers::Clients => "meridian_http",
            Callers::Peers => "meridian_peer_http",
        });
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register(
            "connections_refused",
            "Connections closed at once because too many were open",
            metrics.connections_refused.clone(),
        );
        registry.register("handshakes_failed", "TLS handshakes that failed", metrics.handshakes_failed.clone());
        registry.register(
            "responses",
            "Answers by route and status; streams count at their head",
            metrics.responses.clone(),
        );
        metrics
    }
}
