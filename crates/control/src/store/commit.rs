//! Commits: immutable, compressed, chained.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use meridian_proto::admin::v1::CommitInfo;
use meridian_proto::content::Content;
use meridian_proto::store::v1 as stored;
use meridian_types::{CommitId, Digest};
use prost::Message;

use super::document::{self, DocumentError, FORM};

/// Largest stored commit: one value that every backend takes, with room for what is written beside it.
pub(crate) const MAX_COMMIT_BYTES: usize = 1 << 20;
/// Largest commit once it is decompressed; more would be a bomb, since configuration compresses ten to one.
const MAX_CONTENT_BYTES: u64 = 64 << 20;
/// zstd's own default.
const LEVEL: i32 = 3;
/// Commits kept; older ones are deleted as new ones come.
pub(crate) const KEPT: u64 = 100;

/// One commit as the store has it. The content is decoded when it is first asked for.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) info: CommitInfo,
    pub(crate) digest: Digest,
    pub(crate) chain: Digest,
    resources: Vec<meridian_proto::resources::v1::Resource>,
    content: OnceLock<Arc<Content>>,
}

/// Who made a commit, when and why.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) author: String,
    pub(crate) reason: String,
    pub(crate) made_at_unix_ms: i64,
}

impl Commit {
    /// Reads a stored commit and checks its digest.
    pub(crate) fn read(value: &Bytes) -> Result<Self, DocumentError> {
        let mut plain = Vec::new();
        let decoder = zstd::Decoder::new(value.as_ref()).map_err(DocumentError::Compression)?;
        decoder.take(MAX_CONTENT_BYTES).read_to_end(&mut plain).map_err(DocumentError::Compression)?;
        let commit: stored::Commit = document::read(&plain)?;
        let digest = Digest::from_slice(&commit.digest);
        let content = Content::from_resources(commit.resources.iter().cloned());
        if digest != Some(content.digest()) {
            return Err(DocumentError::Content("its content does not have its digest".to_owned()));
        }
        Ok(Self {
            digest: content.digest(),
            chain: Digest::from_slice(&commit.chain).unwrap_or_default(),
            info: CommitInfo {
                commit: commit.id,
                parent: commit.parent,
                author: commit.author,
                reason: commit.reason,
                made_at_unix_ms: commit.made_at_unix_ms,
                digest: commit.digest,
                resources: u32::try_from(commit.resources.len()).unwrap_or(u32::MAX),
            },
            resources: commit.resources,
            content: OnceLock::new(),
        })
    }

    pub(crate) fn id(&self) -> CommitId {
        CommitId(self.info.commit)
    }

    pub(crate) fn content(&self) -> Arc<Content> {
        self.content.get_or_init(|| Arc::new(Content::from_resources(self.resources.iter().cloned()))).clone()
    }
}

/// The commit after `parent`, ready to be stored.
pub(crate) fn make(
    parent: Option<&Commit>,
    content: &Content,
    origin: Origin,
) -> Result<(CommitId, Bytes), DocumentError> {
    let parent_id = parent.map_or(CommitId::NONE, Commit::id);
    let id = parent_id.next();
    let digest = content.digest();
    let parent_chain = parent.map_or(Digest::default(), |parent| parent.chain);
    let chain = Digest::of_parts([
        parent_chain.as_bytes(),
        &id.0.to_be_bytes(),
        digest.as_bytes(),
        origin.author.as_bytes(),
        origin.reason.as_bytes(),
        &origin.made_at_unix_ms.to_be_bytes(),
    ]);
    let commit = stored::Commit {
        form: FORM,
        id: id.0,
        parent: parent_id.0,
        author: origin.author,
        reason: origin.reason,
        made_at_unix_ms: origin.made_at_unix_ms,
        digest: digest.as_bytes().to_vec().into(),
        chain: chain.as_bytes().to_vec().into(),
        resources: content.resources().collect(),
    };
    let value = zstd::encode_all(commit.encode_to_vec().as_slice(), LEVEL).map_err(DocumentError::Compression)?;
    if value.len() > MAX_COMMIT_BYTES {
        let text = format!("the commit has {} bytes, compressed; the limit is {MAX_COMMIT_BYTES}", value.len());
        return Err(DocumentError::Content(text));
    }
    Ok((id, value.into()))
}

#[cfg(test)]
mod tests {
    use meridian_proto::resources::v1::Resource;

    use super::*;

    fn origin(reason: &str) -> Origin {
        Origin { author: "alice".to_owned(), reason: reason.to_owned(), made_at_unix_ms: 1 }
    }

    fn content(body: &'static [u8]) -> Content {
        let body = Bytes::from_static(body);
        Content::from_resources([Resource { kind: "Region".to_owned(), name: "a".to_owned(), body }])
    }

    #[test]
    fn commits_read_back_and_chain() {
        let (id, value) = make(None, &content(b"one"), origin("first")).unwrap();
        let first = Commit::read(&value).unwrap();
        assert_eq!((id, first.id()), (CommitId(1), CommitId(1)));
        assert_eq!(*first.content(), content(b"one"));
        let (id, value) = make(Some(&first), &content(b"two"), origin("second")).unwrap();
        let second = Commit::read(&value).unwrap();
        assert_eq!((id, second.info.parent), (CommitId(2), 1));
        // Another history gives another chain.
        let (_, value) = make(None, &content(b"one"), origin("forged")).unwrap();
        let forged = Commit::read(&value).unwrap();
        let (_, value) = make(Some(&forged), &content(b"two"), origin("second")).unwrap();
        assert_ne!(Commit::read(&value).unwrap().chain, second.chain);
    }

    #[test]
    fn a_damaged_commit_is_refused() {
        let (_, value) = make(None, &content(b"one"), origin("first")).unwrap();
        let plain = zstd::decode_all(value.as_ref()).unwrap();
        let mut commit = stored::Commit::decode(plain.as_slice()).unwrap();
        commit.resources.clear();
        let value = Bytes::from(zstd::encode_all(commit.encode_to_vec().as_slice(), LEVEL).unwrap());
        assert!(matches!(Commit::read(&value), Err(DocumentError::Content(_))));
        commit.form = FORM + 1;
        let value = Bytes::from(zstd::encode_all(commit.encode_to_vec().as_slice(), LEVEL).unwrap());
        assert!(matches!(Commit::read(&value), Err(DocumentError::Newer(_))));
    }
}
