//! How late this process is for its own timers: a node that cannot keep its own time says nothing about others.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// The worst lateness since it was last asked for.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    worst_ms: AtomicU32,
}

impl Lag {
    /// Measures, for ever.
    pub(crate) async fn run(&self) {
        loop {
            let due = Instant::now() + INTERVAL;
            tokio::time::sleep_until(due).await;
            self.record(due.elapsed());
        }
    }

    /// The worst since the call before.
    pub(crate) fn take_ms(&self) -> u32 {
        self.worst_ms.swap(0, Ordering::Relaxed)
    }

    fn record(&self, late: Duration) {
        self.worst_ms.fetch_max(u32::try_from(late.as_millis()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_worst_lateness_is_told_once() {
        let lag = Lag::default();
        assert!(tokio::time::timeout(Duration::from_secs(1), lag.run()).await.is_err());
        assert!(lag.take_ms() <= 1, "paused time is never late by more than a timer tick");
        lag.record(Duration::from_millis(300));
        lag.record(Duration::from_millis(40));
        assert_eq!((lag.take_ms(), lag.take_ms()), (300, 0));
    }
}
