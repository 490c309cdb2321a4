//! Puts the chunks of a commit together, within limits.

use meridian_proto::node::v1::{CommitBody, CommitChunk};
use prost::Message;

/// Largest chunk that the protocol allows; replicas cut smaller ones, so that a revocation has little before it.
pub(crate) const MAX_CHUNK_BYTES: usize = 256 << 10;
/// Largest body. A stored commit has at most 1 MiB compressed; resources are text and shrink at most so much.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 20;

/// Why chunks make no commit.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum AssemblyError {
    #[error("chunk {got} of {count} came where chunk {expected} was due")]
    Order { expected: u32, got: u32, count: u32 },
    #[error("chunk of another size than 1 to {MAX_CHUNK_BYTES} bytes: {0}")]
    Chunk(usize),
    #[error("the commit has more than {MAX_BODY_BYTES} bytes")]
    Body,
    #[error("the chunks make no commit body")]
    Unreadable(#[from] prost::DecodeError),
    #[error("chunks of commit {chunk} hold the body of commit {body}")]
    Commit { chunk: u64, body: u64 },
}

/// Chunks so far.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    commit: u64,
    next: u32,
    count: u32,
    data: Vec<u8>,
}

impl Assembler {
    /// Takes the next chunk; the body once it is whole. Chunk 0 always begins anew: a newer pin supersedes one that
    /// is under way. After an error the assembler is empty.
    pub(crate) fn take(&mut self, chunk: &CommitChunk) -> Result<Option<CommitBody>, AssemblyError> {
        let taken = self.add(chunk);
        if !matches!(taken, Ok(None)) {
            *self = Self::default();
        }
        taken
    }

    /// Whether a commit is under way.
    pub(crate) fn is_open(&self) -> bool {
        self.count > 0
    }

    fn add(&mut self, chunk: &CommitChunk) -> Result<Option<CommitBody>, AssemblyError> {
        if chunk.index == 0 {
            *self = Self { commit: chunk.commit, next: 0, count: chunk.count, data: Vec::new() };
        }
        let is_next = chunk.commit == self.commit && chunk.count == self.count && chunk.index == self.next;
        if !is_next || chunk.index >= chunk.count {
            return Err(AssemblyError::Order { expected: self.next, got: chunk.index, count: chunk.count });
        }
        if chunk.data.is_empty() || chunk.data.len() > MAX_CHUNK_BYTES {
            return Err(AssemblyError::Chunk(chunk.data.len()));
        }
        if self.data.len() + chunk.data.len() > MAX_BODY_BYTES {
            return Err(AssemblyError::Body);
        }
        self.data.extend_from_slice(&chunk.data);
        self.next += 1;
        if self.next < self.count {
            return Ok(None);
        }
        let body = CommitBody::decode(&*self.data)?;
        if body.commit != self.commit {
            return Err(AssemblyError::Commit { chunk: self.commit, body: body.commit });
        }
        Ok(Some(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(commit: u64, size: usize) -> Vec<CommitChunk> {
        let body = CommitBody { commit, digest: vec![7; 32].into(), ..CommitBody::default() }.encode_to_vec();
        let count = u32::try_from(body.len().div_ceil(size)).unwrap();
        let parts = body.chunks(size).zip(0..);
        parts.map(|(data, index)| CommitChunk { commit, index, count, data: data.to_vec().into() }).collect()
    }

    #[test]
    fn chunks_in_order_make_the_body_and_a_new_first_chunk_begins_anew() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.take(&chunks(1, 10)[0]), Ok(None));
        let chunks = chunks(2, 10);
        let (last, first) = chunks.split_last().unwrap();
        for chunk in first {
            assert_eq!(assembler.take(chunk), Ok(None));
            assert!(assembler.is_open());
        }
        assert_eq!(assembler.take(last).unwrap().unwrap().commit, 2);
        assert!(!assembler.is_open());
    }

    #[test]
    fn chunks_that_do_not_fit_are_refused_and_forgotten() {
        let [first, second, third] = <[_; 3]>::try_from(chunks(1, 15)).unwrap();
        let check = |chunks: &[&CommitChunk], expected: &str| {
            let mut assembler = Assembler::default();
            let (last, before) = chunks.split_last().unwrap();
            for chunk in before {
                assert_eq!(assembler.take(chunk), Ok(None));
            }
            let error = assembler.take(last).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!assembler.is_open());
        };
        check(&[&second], "chunk 1 of 3 came where chunk 0 was due");
        check(&[&first, &third], "chunk 2 of 3 came where chunk 1 was due");
        check(&[&first, &second, &second], "came where chunk 2 was due");
        check(&[&first, &CommitChunk { commit: 2, ..second.clone() }], "came where");
        check(&[&first, &CommitChunk { count: 4, ..second.clone() }], "came where");
        check(&[&CommitChunk { count: 0, ..first.clone() }], "came where");
        check(&[&first, &CommitChunk { data: Vec::new().into(), ..second.clone() }], "size");
        check(&[&CommitChunk { data: vec![0; MAX_CHUNK_BYTES + 1].into(), ..first.clone() }], "size");
        check(&[&CommitChunk { count: 1, ..first.clone() }], "make no commit body");
        let [a, b, c] = <[_; 3]>::try_from(chunks_of_another(&first, &second, &third)).unwrap();
        check(&[&a, &b, &c], "hold the body of commit 1");
    }

    fn chunks_of_another(a: &CommitChunk, b: &CommitChunk, c: &CommitChunk) -> Vec<CommitChunk> {
        [a, b, c].into_iter().map(|chunk| CommitChunk { commit: 9, ..chunk.clone() }).collect()
    }

    #[test]
    fn a_body_has_a_limit() {
        let mut assembler = Assembler::default();
        let data: bytes::Bytes = vec![0; MAX_CHUNK_BYTES].into();
        let count = u32::MAX;
        for index in 0..u32::try_from(MAX_BODY_BYTES / MAX_CHUNK_BYTES).unwrap() {
            assert_eq!(assembler.take(&CommitChunk { commit: 1, index, count, data: data.clone() }), Ok(None));
        }
        let index = assembler.next;
        assert_eq!(assembler.take(&CommitChunk { commit: 1, index, count, data }), Err(AssemblyError::Body));
    }
}
