//! How late this process is for its own timers: a node that cannot keep its own time says nothing about others, and takes
//! less work.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::pressure::Pressure;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks in a row that have to be late: a single one may be a moment of the machine's; what stands for half a second is a
/// queue that does not empty. So the *least* lateness of them counts (as in CoDel, RFC 8289, section 3.2).
const LOOKS: usize = 5;

/// A client waits this much longer for each step of its request: work that can wait should.
const LATE_MS: u32 = 200;
/// Nobody is served well any more.
const VERY_LATE_MS: u32 = 1000;

/// Lateness: the worst since it was last asked for, and what stands.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    worst_ms: AtomicU32,
    pressure: AtomicU8,
}

impl Lag {
    /// Measures, for ever.
    pub(crate) async fn run(&self) {
        let mut looks = [0; LOOKS];
        loop {
            let due = Instant::now() + INTERVAL;
            tokio::time::sleep_until(due).await;
            let late_ms = u32::try_from(due.elapsed().as_millis()).unwrap_or(u32::MAX);
            looks.rotate_left(1);
            if let Some(last) = looks.last_mut() {
                *last = late_ms;
            }
            self.record(late_ms, looks.into_iter().min().unwrap_or_default());
        }
    }

    /// What stands now.
    pub(crate) fn pressure(&self) -> Pressure {
        match self.pressure.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::High,
            _ => Pressure::Extreme,
        }
    }

    /// The worst since the call before.
    pub(crate) fn take_ms(&self) -> u32 {
        self.worst_ms.swap(0, Ordering::Relaxed)
    }

    fn record(&self, late_ms: u32, standing_ms: u32) {
        self.worst_ms.fetch_max(late_ms, Ordering::Relaxed);
        let pressure = u8::from(standing_ms >= LATE_MS) + u8::from(standing_ms >= VERY_LATE_MS);
        let before = self.pressure.swap(pressure, Ordering::Relaxed);
        if pressure != before {
            tracing::warn!(
                standing_ms,
                pressure,
                "the process is late for its own timers: 1 sheds batch, 2 nearly all"
            );
        }
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
        lag.record(300, 0);
        lag.record(40, 0);
        assert_eq!((lag.take_ms(), lag.take_ms()), (300, 0));
    }

    #[test]
    fn what_stands_is_pressure_and_passes_with_it() {
        let lag = Lag::default();
        for (standing_ms, pressure) in
            [(199, Pressure::None), (200, Pressure::High), (1000, Pressure::Extreme), (0, Pressure::None)]
        {
            lag.record(standing_ms, standing_ms);
            assert_eq!(lag.pressure(), pressure, "{standing_ms}");
        }
    }
}
