//! Waiting for a condition.

use std::future::Future;
use std::time::Duration;

/// How often a condition is looked at: often enough for short tests, rarely enough not to load two cores.
const POLL: Duration = Duration::from_millis(20);

/// Returns how long it took until `condition` held; panics with `what` after `deadline`.
#[track_caller]
pub fn eventually<F: Future<Output = bool>>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> F,
) -> impl Future<Output = Duration> {
    let caller = std::panic::Location::caller();
    async move {
        let start = tokio::time::Instant::now();
        while !condition().await {
            assert!(start.elapsed() < deadline, "not within {deadline:?}: {what} ({caller})");
            tokio::time::sleep(POLL).await;
        }
        start.elapsed()
    }
}

/// As [`eventually`], and returns the value that `look` found.
#[track_caller]
pub fn eventually_some<T, F: Future<Output = Option<T>>>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> F,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let start = tokio::time::Instant::now();
        loop {
            if let Some(value) = look().await {
                return value;
            }
            assert!(start.elapsed() < deadline, "not within {deadline:?}: {what} ({caller})");
            tokio::time::sleep(POLL).await;
        }
    }
}
