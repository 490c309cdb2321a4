//! What the log says of a store that cannot be followed: one line when it is lost, one from time to time, and one when
//! it is back. An outage of hours must neither be silent nor fill a disk.

use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about the same outage.
const AGAIN: Duration = Duration::from_secs(30);

/// The present outage, if there is one.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Outage {
    /// One more attempt failed. For how long now, if it is time to say so again.
    fn failed(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if self.told.is_some_and(|told| now - told < AGAIN) {
            return None;
        }
        self.told = Some(now);
        Some(now - since)
    }

    /// Tells of a failed attempt. `is_loaded`: the store was read before, so that there is something to serve from.
    pub(super) fn tell(&mut self, is_loaded: bool, cause: &str) {
        let Some(lasted) = self.failed() else { return };
        let lasted_s = lasted.as_secs();
        if is_loaded {
            tracing::warn!(cause, lasted_s, "store lost: nothing can be written; serving on with what is known");
        } else {
            tracing::warn!(cause, lasted_s, "not ready: the store was never read, and cannot be reached");
        }
    }

    /// The store is followed again, or for the first time.
    pub(super) fn over(&mut self) {
        if let Some(since) = std::mem::take(self).since {
            tracing::info!(lasted_s = since.elapsed().as_secs(), "store is followed again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_at_its_beginning_and_every_30_s() {
        let mut outage = Outage::default();
        let mut told = Vec::new();
        for tenth in 0..700 {
            if outage.failed().is_some() {
                told.push(tenth / 10);
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(told, [0, 30, 60]);
        outage.over();
        assert_eq!(outage.failed(), Some(Duration::ZERO), "the next one is another");
    }
}
