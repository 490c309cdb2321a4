//! What is wrong with a node besides what it serves: its disk, what it owes an answer to, and whether it hears us.

use std::time::Duration;

use meridian_proto::node::v1::Beat;
use meridian_types::CommitId;
use tokio::time::Instant;

/// A node compiles a commit in milliseconds and then waits 30 s at most for a disk that refuses. One that still owes its
/// answer after twice that is stuck, and gets nothing newer on this stream.
const UNANSWERED: Duration = Duration::from_secs(60);

/// Every beat (250 ms) names a newer echo, whatever the round trip is. A node gives a stream without echoes up after a second,
/// so that this must be shorter.
const UNHEARD: Duration = Duration::from_millis(700);

/// Of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// Why its last-known-good file is not up to date; empty: it is.
    unsaved: String,
    /// Sent on this sync stream, since when, and not answered yet.
    awaited: Option<(u64, CommitId, Instant)>,
    /// The last echo that it saw, and when that was news.
    echo: Option<(u64, Instant)>,
    /// For how long there had been none when its last beat came.
    unheard: Duration,
}

impl Notes {
    /// Takes what a beat says.
    pub(super) fn beat(&mut self, beat: &Beat) {
        self.unsaved.clone_from(&beat.unsaved);
        let now = Instant::now();
        // A new stream begins anew, unless the one before was not heard either.
        let begins = beat.sequence <= 1 && self.unheard < UNHEARD;
        let (_, since) = *self.echo.insert(match self.echo {
            Some((seen, since)) if seen == beat.echo_seen && !begins => (seen, since),
            _ => (beat.echo_seen, now),
        });
        self.unheard = now - since;
    }

    /// A commit went out on a sync stream.
    pub(super) fn sent(&mut self, session: u64, commit: CommitId) {
        self.awaited = Some((session, commit, Instant::now()));
    }

    /// The stream owes no answer any more: it came, or the stream ended.
    pub(super) fn settled(&mut self, session: u64) {
        self.awaited = self.awaited.filter(|(of, ..)| *of != session);
    }

    /// What there is to say, one text each.
    pub(super) fn texts(&self) -> Vec<String> {
        let unsaved = (!self.unsaved.is_empty()).then(|| {
            format!("its disk refuses ({}): a restart would find an older last-known-good file", self.unsaved)
        });
        let awaited = self.awaited.filter(|(.., since)| since.elapsed() >= UNANSWERED);
        let awaited = awaited.map(|(_, commit, since)| {
            format!("it has not answered commit {commit} for {} s, and gets no newer one", since.elapsed().as_secs())
        });
        let unheard = (self.unheard >= UNHEARD).then(|| {
            let seconds = self.unheard.as_secs_f64();
            format!(
                "its beats come, and it has heard no reply of this replica for {seconds:.1} s: they are lost one way"
            )
        });
        unsaved.into_iter().chain(awaited).chain(unheard).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn replies_that_are_lost_one_way_show_also_over_new_streams_and_a_long_round_trip_does_not() {
        let mut notes = Notes::default();
        let mut beat = |sequence, echo_seen| {
            notes.beat(&Beat { sequence, echo_seen, ..Beat::default() });
            notes.texts().pop().unwrap_or_default()
        };
        let beats = async || tokio::time::advance(Duration::from_millis(250)).await;
        // Half a second from beat to echo.
        for sequence in 1u64..12 {
            assert_eq!(beat(sequence, sequence.saturating_sub(2)), "", "beat {sequence}");
            beats().await;
        }
        // A stream after a silence is no news.
        tokio::time::advance(Duration::from_secs(30)).await;
        for sequence in 1..4 {
            assert_eq!(beat(sequence, 0), "");
            beats().await;
        }
        assert!(beat(4, 0).contains("for 0.8 s"));
        beats().await;
        assert!(beat(1, 0).contains("for 1.0 s"), "the next stream");
        assert_eq!(beat(2, 1), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_is_not_answered_is_told_after_a_minute_and_only_of_its_own_stream() {
        let mut notes = Notes::default();
        notes.sent(1, CommitId(7));
        tokio::time::advance(UNANSWERED - Duration::from_secs(1)).await;
        assert_eq!(notes.texts(), Vec::<String>::new());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(notes.texts(), ["it has not answered commit 7 for 61 s, and gets no newer one"]);
        // The end of a stream that another took over from says nothing of that one.
        notes.sent(2, CommitId(7));
        notes.settled(1);
        tokio::time::advance(UNANSWERED).await;
        assert_eq!(notes.texts().len(), 1);
        notes.settled(2);
        assert_eq!(notes.texts(), Vec::<String>::new());
    }
}
