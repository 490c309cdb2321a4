//! Which beats came back, and whether the session is dead.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A beat that is not echoed within this time means a dead session: four beats, far above any round trip on Earth.
pub(crate) const DEADLINE: Duration = Duration::from_secs(1);
/// This process looked away for so long that what it missed is its own fault: echoes may wait in its socket.
const STALL: Duration = Duration::from_millis(500);
/// Beats under way; beats of one deadline, with room for those sent out of turn.
const MAX_PENDING: usize = 64;

/// Beats of one session.
#[derive(Debug)]
pub(crate) struct Echoes {
    pending: VecDeque<(u64, Instant)>,
    sent: u64,
    seen: u64,
    looked: Instant,
}

impl Echoes {
    pub(crate) fn new() -> Self {
        Self { pending: VecDeque::new(), sent: 0, seen: 0, looked: Instant::now() }
    }

    /// The next beat's sequence, from 1.
    pub(crate) fn send(&mut self) -> u64 {
        self.sent += 1;
        if self.pending.len() < MAX_PENDING {
            self.pending.push_back((self.sent, Instant::now()));
        }
        self.sent
    }

    /// A beat came back, and with it all before: its round trip. `None` if it was known, or never sent.
    pub(crate) fn echoed(&mut self, sequence: u64) -> Option<Duration> {
        if sequence <= self.seen || sequence > self.sent {
            return None;
        }
        self.seen = sequence;
        let mut sent_at = None;
        while let Some((_, at)) = self.pending.pop_front_if(|(pending, _)| *pending <= sequence) {
            sent_at = Some(at);
        }
        sent_at.map(|at| at.elapsed())
    }

    /// The highest sequence that came back; 0: none.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// When the oldest beat will be overdue.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.front().map(|(_, at)| *at + DEADLINE)
    }

    /// Whether a beat is overdue. Call it at least with every beat: a long gap between two calls means that this
    /// process stood still, and starts the clock of each pending beat anew.
    pub(crate) fn is_dead(&mut self) -> bool {
        let now = Instant::now();
        let stalled = now.duration_since(std::mem::replace(&mut self.looked, now)) > STALL;
        if stalled {
            self.pending.iter_mut().for_each(|(_, at)| *at = now);
        }
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(250);

    #[tokio::test(start_paused = true)]
    async fn a_session_dies_when_its_oldest_beat_is_overdue() {
        let mut echoes = Echoes::new();
        for _ in 0..4 {
            echoes.send();
            assert!(!echoes.is_dead());
            tokio::time::advance(BEAT).await;
        }
        assert!(echoes.is_dead());
        assert_eq!(echoes.echoed(2), Some(3 * BEAT));
        assert!(!echoes.is_dead(), "the beats that are left are young");
    }

    #[tokio::test(start_paused = true)]
    async fn an_echo_counts_once_and_only_for_a_beat_that_was_sent() {
        let mut echoes = Echoes::new();
        echoes.send();
        assert_eq!(echoes.echoed(2), None);
        assert_eq!(echoes.echoed(1), Some(Duration::ZERO));
        assert_eq!(echoes.echoed(1), None);
        assert_eq!((echoes.seen(), echoes.deadline()), (1, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stood_still_does_not_blame_the_replica() {
        let mut echoes = Echoes::new();
        echoes.send();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!echoes.is_dead());
        for _ in 0..4 {
            tokio::time::advance(BEAT).await;
            echoes.is_dead();
        }
        assert!(echoes.is_dead());
    }
}
