//! A commit on its way to a node: whole, as a difference, or not at all.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_proto::content::Content;
use meridian_proto::node::v1::{CommitBody, CommitChunk};
use meridian_types::{CommitId, Digest};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::outbox::STUCK;
use crate::view::{Target, View};

/// Largest piece. A revocation may have three of them before it, beside the connection's window (see
/// [`meridian_proto::transport::STREAM_WINDOW`]): one in the queue, one that tonic has encoded, one that HTTP/2 has cut. All
/// together make 0.7 s at 2 Mbit/s.
const CHUNK_BYTES: usize = 16 << 10;
/// A commit is taken whole in this time, or the stream ends: who trickles must not keep a turn and a body for hours. The
/// largest, 16 MiB, takes 70 s at 2 Mbit/s.
const UNDER_WAY: Duration = Duration::from_secs(120);
/// Whole commits on their way at once. Each is encoded for its node and may have 16 MiB: a herd of nodes that hold nothing
/// must not cost the replica its memory. What comes as a difference does not wait.
pub(crate) const WHOLE_AT_ONCE: usize = 16;
/// A node that does not answer keeps its turn for so long.
const TURN: Duration = Duration::from_secs(10);

/// Ends when the turn has come.
type Queue = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send + Sync>>;

/// One node's turn to get a whole commit.
#[derive(Default)]
pub(super) enum Turn {
    #[default]
    None,
    Waits(Queue),
    Has {
        _permit: OwnedSemaphorePermit,
        until: Instant,
    },
}

impl Turn {
    /// Whether it is this node's turn; if not it stands in the queue from now on.
    pub(super) fn asks(&mut self, turns: &Arc<Semaphore>) -> bool {
        if matches!(self, Self::None) {
            *self = match turns.clone().try_acquire_owned() {
                Ok(permit) => Self::has(permit),
                Err(_) => {
                    let turns = turns.clone();
                    Self::Waits(Box::pin(async move { turns.acquire_owned().await.ok() }))
                }
            };
        }
        matches!(self, Self::Has { .. })
    }

    /// Returns when it has come, or is over.
    pub(super) async fn changed(&mut self) {
        *self = match self {
            Self::None => std::future::pending().await,
            Self::Waits(turn) => turn.await.map_or(Self::None, Self::has),
            Self::Has { until, .. } => {
                tokio::time::sleep_until(*until).await;
                Self::None
            }
        };
    }

    fn has(permit: OwnedSemaphorePermit) -> Self {
        Self::Has { _permit: permit, until: Instant::now() + TURN }
    }
}

/// What the node holds, if that is known here: then the difference to it is enough.
pub(super) fn base(view: &View, held: CommitId, digest: Option<Digest>) -> Option<Arc<Content>> {
    digest.and_then(|digest| view.content_of(held, digest))
}

/// What a node that holds `held`, which is `base` if that is known, needs to come to the target.
pub(super) fn to_target(target: &Target, held: CommitId, base: Option<&Content>) -> Chunks {
    let (upserts, removals) = match base {
        Some(base) => target.content.diff(base),
        None => (target.content.resources().collect(), Vec::new()),
    };
    let body = CommitBody {
        commit: target.id.0,
        base: if base.is_some() { held.0 } else { CommitId::NONE.0 },
        upserts,
        removals,
        digest: target.digest.as_bytes().to_vec().into(),
    };
    Chunks::of(target.id, body.encode_to_vec().into())
}

/// What is left of a commit that is on its way: one encoded body, cut when there is room for the next piece.
pub(super) struct Chunks {
    commit: CommitId,
    body: Bytes,
    index: u32,
    count: u32,
    /// When the last piece was taken; at first: when it began.
    taken: Instant,
    /// When the last one must be.
    until: Instant,
}

impl Chunks {
    fn of(commit: CommitId, body: Bytes) -> Self {
        let count = u32::try_from(body.len().div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX);
        let now = Instant::now();
        Self { commit, body, index: 0, count, taken: now, until: now + UNDER_WAY }
    }

    /// When the node is too slow for more.
    pub(super) fn overdue(&self) -> Instant {
        self.until.min(self.taken + STUCK)
    }
}

impl Iterator for Chunks {
    type Item = CommitChunk;

    fn next(&mut self) -> Option<CommitChunk> {
        if self.body.is_empty() {
            return None;
        }
        let data = self.body.split_to(CHUNK_BYTES.min(self.body.len()));
        let chunk = CommitChunk { commit: self.commit.0, index: self.index, count: self.count, data };
        (self.index, self.taken) = (self.index + 1, Instant::now());
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_bounded_and_make_the_body_again() {
        let body: Vec<u8> = (0..CHUNK_BYTES * 2 + 5).map(|i| i as u8).collect();
        let chunks: Vec<_> = Chunks::of(CommitId(3), body.clone().into()).collect();
        assert_eq!(chunks.iter().map(|chunk| (chunk.index, chunk.count)).collect::<Vec<_>>(), [(0, 3), (1, 3), (2, 3)]);
        assert!(chunks.iter().all(|chunk| chunk.data.len() <= CHUNK_BYTES));
        assert_eq!(chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect::<Vec<_>>(), body);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_has_so_long_for_each_chunk_and_so_long_for_all() {
        let began = Instant::now();
        let mut chunks = Chunks::of(CommitId(3), vec![0; CHUNK_BYTES * 40].into());
        assert_eq!(chunks.overdue(), began + STUCK);
        while Instant::now() < chunks.overdue() {
            tokio::time::advance(STUCK - Duration::from_secs(1)).await;
            chunks.next();
        }
        assert_eq!(chunks.overdue(), began + UNDER_WAY);
        assert!(chunks.next().is_some());
    }
}
