//! What is wrong with a node besides what it serves: its disk, and what it owes an answer to.

use std::time::Duration;

use meridian_proto::node::v1::Beat;
use meridian_types::CommitId;
use tokio::time::Instant;

/// A node compiles a commit in milliseconds and then waits 30 s at most for a disk that refuses. One that still owes its
/// answer after twice that is stuck, and gets nothing newer on this stream.
const UNANSWERED: Duration = Duration::from_secs(60);

/// Of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// Why its last-known-good file is not up to date; empty: it is.
    unsaved: String,
    /// Sent on this sync stream, since when, and not answered yet.
    awaited: Option<(u64, CommitId, Instant)>,
}

impl Notes {
    /// Takes what a beat says.
    pub(super) fn beat(&mut self, beat: &Beat) {
        self.unsaved.clone_from(&beat.unsaved);
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
        unsaved.into_iter().chain(awaited).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
