//! A commit on its way to a node: whole, as a difference, or not at all.

use meridian_proto::node::v1::{CommitBody, CommitChunk};
use meridian_types::{CommitId, Digest};
use prost::Message;

use crate::view::View;

/// Largest piece: small enough that account changes and questions are not held up behind it.
const CHUNK_BYTES: usize = 256 << 10;

/// What a node that holds `held` needs to come to the head; `None`: nothing.
pub(crate) fn to_head(view: &View, held: CommitId, digest: Option<Digest>) -> Option<(CommitId, Vec<CommitChunk>)> {
    let head = view.head.as_ref()?;
    let id = head.commit.id();
    if held == id && digest == Some(head.commit.digest) {
        return None;
    }
    // Only what we know to be what the node holds can be a base.
    let base = view.commits.get(&held).filter(|base| digest == Some(base.digest));
    let (upserts, removals) = match base {
        Some(base) => head.content.diff(&base.content()),
        None => (head.content.resources().collect(), Vec::new()),
    };
    let body = CommitBody {
        commit: id.0,
        base: base.map_or(0, |base| base.id().0),
        upserts,
        removals,
        digest: head.commit.digest.as_bytes().to_vec().into(),
    };
    Some((id, chunks(id, &body.encode_to_vec())))
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
