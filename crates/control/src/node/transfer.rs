//! A commit on its way to a node: whole, as a difference, or not at all.

use meridian_proto::node::v1::{CommitBody, CommitChunk};
use meridian_types::{CommitId, Digest};
use prost::Message;

use crate::view::{Target, View};

/// Largest piece: small enough that account changes and questions are not held up behind it.
const CHUNK_BYTES: usize = 256 << 10;

/// What a node that holds `held` needs to come to the target; `None`: nothing.
pub(crate) fn to_target(
    view: &View,
    target: &Target,
    held: CommitId,
    digest: Option<Digest>,
) -> Option<Vec<CommitChunk>> {
    if held == target.id && digest == Some(target.digest) {
        return None;
    }
    // Only what we know to be what the node holds can be a base.
    let base = digest.and_then(|digest| view.content_of(held, digest));
    let (upserts, removals) = match &base {
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
    Some(chunks(target.id, &body.encode_to_vec()))
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
