//! A commit on its way to a node: whole, as a difference, or not at all.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use meridian_proto::content::Content;
use meridian_proto::node::v1::{CommitBody, CommitChunk};
use meridian_types::{CommitId, Digest};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::view::{Target, View};

/// Largest piece: small enough that account changes and questions are not held up behind it.
const CHUNK_BYTES: usize = 256 << 10;
/// Whole commits on their way at once. Each is encoded for its node and may have 16 MiB: a herd of nodes that hold nothing
/// must not cost the replica its memory. They take a fraction of a second each; what comes as a difference does not wait.
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
pub(super) fn to_target(target: &Target, held: CommitId, base: Option<&Content>) -> Vec<CommitChunk> {
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
    chunks(target.id, &body.encode_to_vec())
}

fn chunks(id: CommitId, body: &[u8]) -> Vec<CommitChunk> {
    let pieces: Vec<&[u8]> = body.chunks(CHUNK_BYTES).collect();
    let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    let chunk = |(index, data): (u32, &[u8])| CommitChunk { commit: id.0, index, count, data: data.to_vec().into() };
    (0..).zip(pieces).map(chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_bounded_and_make_the_body_again() {
        let body: Vec<u8> = (0..CHUNK_BYTES * 2 + 5).map(|i| i as u8).collect();
        let chunks = chunks(CommitId(3), &body);
        assert_eq!(chunks.iter().map(|chunk| (chunk.index, chunk.count)).collect::<Vec<_>>(), [(0, 3), (1, 3), (2, 3)]);
        assert!(chunks.iter().all(|chunk| chunk.data.len() <= CHUNK_BYTES));
        assert_eq!(chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect::<Vec<_>>(), body);
    }
}
