//! Metrics of the lanes; nothing here names a resource, so that the number of series is fixed.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Label `outcome`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    outcome: &'static str,
}

impl Outcome {
    const fn new(outcome: &'static str) -> Self {
        Self { outcome }
    }

    pub(crate) const DONE: Self = Self::new("done");
    pub(crate) const REFUSED: Self = Self::new("refused");
    pub(crate) const FAILED: Self = Self::new("failed");
    pub(crate) const SILENT: Self = Self::new("silent");
    pub(crate) const CLOSED: Self = Self::new("closed");
}

/// All of them; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Commits received: `done` or `refused`.
    pub(crate) commits: Family<Outcome, Counter>,
    /// The commit that is served.
    pub(crate) commit: Gauge<u64, AtomicU64>,
    /// Plans received: `done` or `refused`.
    pub(crate) plans: Family<Outcome, Counter>,
    /// Account updates.
    pub(crate) account_updates: Counter,
    /// Sync sessions that got their welcome.
    pub(crate) sync_sessions: Counter,
    /// Pulse sessions that ended: `silent` or `closed`.
    pub(crate) pulse_ended: Family<Outcome, Counter>,
    /// Replicas that echo.
    pub(crate) sessions_up: Gauge,
    /// From beat to echo.
    pub(crate) round_trip: Histogram,
    /// Writes of the last-known-good file: `done` or `failed`.
    pub(crate) file_writes: Family<Outcome, Counter>,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        // 0.5 ms to 1 s: from the same machine to where a session counts as dead.
        let round_trip = Histogram::new([0.0005, 0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0]);
        let metrics = Self {
            commits: Family::default(),
            commit: Gauge::default(),
            plans: Family::default(),
            account_updates: Counter::default(),
            sync_sessions: Counter::default(),
            pulse_ended: Family::default(),
            sessions_up: Gauge::default(),
            round_trip,
            file_writes: Family::default(),
        };
        let group = registry.sub_registry_with_prefix("meridian_control_client");
        group.register("commits", "Commits received, by outcome", metrics.commits.clone());
        group.register("commit", "The commit that is served", metrics.commit.clone());
        group.register("plans", "Plans received, by outcome", metrics.plans.clone());
        group.register("account_updates", "Account updates received", metrics.account_updates.clone());
        group.register("sync_sessions", "Sync sessions that were welcomed", metrics.sync_sessions.clone());
        group.register("pulse_sessions_ended", "Pulse sessions that ended, by reason", metrics.pulse_ended.clone());
        group.register("pulse_sessions_up", "Control replicas that echo beats", metrics.sessions_up.clone());
        let help = "From a beat to its echo";
        group.register_with_unit("pulse_round_trip", help, Unit::Seconds, metrics.round_trip.clone());
        let help = "Writes of the last-known-good file, by outcome";
        group.register("last_known_good_writes", help, metrics.file_writes.clone());
        metrics
    }
}
