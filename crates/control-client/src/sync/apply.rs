//! From a commit's body to what is served: whole or not at all.

use std::sync::Arc;

use meridian_proto::content::Content;
use meridian_proto::node::v1::{CommitBody, Fault};
use meridian_types::{CommitId, ErrorCode, Mistake};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::handle::Shared;
use crate::held::HeldCommit;
use crate::{Options, Published, Source};

/// Faults named in one Nack: a person repairs a few and tries again.
const MAX_FAULTS: usize = 100;

/// Why a commit was not applied.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) faults: Vec<Fault>,
    /// What is held does not fit what was sent: the whole commit is needed.
    pub(crate) needs_whole: bool,
}

/// Applies commits.
pub(crate) struct Applier {
    pub(crate) options: Options,
    pub(crate) shared: Arc<Shared>,
    /// Shared with the task that clears it after a while; nothing on a request's path waits for it.
    pub(crate) breaker: Arc<Mutex<Breaker>>,
}

impl Applier {
    /// Builds, checks and swaps; microseconds that it took. Its pieces take some tenths of a second each for the largest commit;
    /// between them, and while it waits for the disk, the lane takes accounts.
    pub(crate) async fn apply(&self, body: CommitBody) -> Result<u64, Refusal> {
        let began = Instant::now();
        let commit = self.build(body)?;
        if self.is_served(&commit) {
            return Ok(0);
        }
        tokio::task::yield_now().await;
        let configuration = commit.content.configuration().map_err(|mistakes| Refusal::mistakes(&mistakes))?;
        tokio::task::yield_now().await;
        {
            let mut breaker = self.breaker.lock().await;
            if breaker.condemns(commit.id, commit.digest) {
                let text = "the process died twice soon after applying this commit";
                return Err(Refusal::of(ErrorCode::Internal, text));
            }
            breaker.applying(commit.id, commit.digest).await;
        }
        let published = Published {
            commit: commit.id,
            digest: commit.digest,
            content: commit.content.clone(),
            configuration: Arc::new(configuration),
            source: Source::Live,
        };
        self.options.serving.apply(Arc::new(published)).map_err(|mistakes| Refusal::mistakes(&mistakes))?;
        self.shared.held.send_modify(|held| held.commit = Some(commit));
        Ok(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The content that the body means, with the digest that it names.
    fn build(&self, body: CommitBody) -> Result<HeldCommit, Refusal> {
        let id = CommitId(body.commit);
        let mut content = if body.base == CommitId::NONE.0 {
            Content::default()
        } else {
            let held = self.shared.held.borrow();
            match &held.commit {
                Some(held) if held.id.0 == body.base => Content::clone(&held.content),
                _ => return Err(Refusal::whole(format!("the base, commit {}, is not held", body.base))),
            }
        };
        content.apply(body.upserts, body.removals);
        let digest = content.digest();
        if digest.as_bytes() != body.digest {
            return Err(Refusal::whole(format!("the content has digest {digest}, not the one it should have")));
        }
        Ok(HeldCommit { id, digest, content: Arc::new(content) })
    }

    /// A replica may send again what is served already; compiling it again would only drop warm state.
    fn is_served(&self, commit: &HeldCommit) -> bool {
        let served = self.options.serving.vitals().served;
        served.is_some_and(|served| served.commit == commit.id && served.digest == commit.digest)
    }
}

impl Refusal {
    fn mistakes(mistakes: &[Mistake]) -> Self {
        Self { faults: mistakes.iter().take(MAX_FAULTS).map(fault).collect(), needs_whole: false }
    }

    fn of(code: ErrorCode, text: impl Into<String>) -> Self {
        let fault = Fault { code: code.as_str().to_owned(), text: text.into(), ..Fault::default() };
        Self { faults: vec![fault], needs_whole: false }
    }

    /// What came does not fit together, or not to what is held.
    pub(crate) fn whole(text: impl Into<String>) -> Self {
        Self { needs_whole: true, ..Self::of(ErrorCode::Conflict, text) }
    }
}

fn fault(mistake: &Mistake) -> Fault {
    Fault {
        kind: mistake.kind.to_string(),
        name: mistake.name.clone(),
        field_path: mistake.path.clone(),
        code: mistake.code.to_string(),
        text: mistake.text.clone(),
    }
}
