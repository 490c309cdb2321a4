//! What happened since the last report, in bounded space.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_llm::FailureClass;
use meridian_types::LatencySketch;
use tokio::time::Instant;

/// Counts since the last report.
pub(crate) struct Window {
    pub(crate) since: Instant,
    pub(crate) started: u64,
    pub(crate) finished: u64,
    pub(crate) shed: u64,
    pub(crate) errors: BTreeMap<FailureClass, u64>,
    pub(crate) first_tokens: LatencySketch,
    /// Of the finished ones, together.
    pub(crate) time_in_flight: Duration,
}

impl Window {
    /// An empty window that begins now.
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            started: 0,
            finished: 0,
            shed: 0,
            errors: BTreeMap::new(),
            first_tokens: LatencySketch::default(),
            time_in_flight: Duration::ZERO,
        }
    }

    /// Milliseconds that a finished request stayed, on average; 0 if none has finished.
    pub(crate) fn mean_duration_ms(&self) -> f64 {
        if self.finished == 0 { 0.0 } else { self.time_in_flight.as_secs_f64() * 1000.0 / self.finished as f64 }
    }
}
