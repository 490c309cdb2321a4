//! The crash-loop breaker: a commit that twice killed the process soon after it was applied is not applied again.
//!
//! Before a commit is applied a marker file says so; it is removed when the process has lived on for [`SURVIVED`], or
//! stops in order. A process that finds the marker at its start knows that the one before died of it, perhaps.

use std::path::{Path, PathBuf};
use std::time::Duration;

use meridian_host::Host;
use meridian_types::CommitId;
use tokio::time::Instant;

/// A process that lives this long after applying a commit did not die of it.
const SURVIVED: Duration = Duration::from_secs(60);
/// Deaths that condemn a commit. The first may have been chance: an operator's kill, the machine's power.
const DEATHS: u32 = 2;
/// The marker: `<commit> <processes that applied it and did not survive>`.
const FILE: &str = "applying";

/// The marker of one node.
pub(crate) struct Breaker {
    host: Host,
    path: PathBuf,
    marker: Option<Marker>,
    /// When this process last applied the commit of the marker; `None`: it did not.
    applied: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marker {
    commit: CommitId,
    deaths: u32,
}

impl Breaker {
    /// Reads what the process before left in `dir`.
    pub(crate) async fn open(host: Host, dir: &Path) -> Self {
        let path = dir.join(FILE);
        let marker = host.files.read(&path).await.ok().and_then(|bytes| Marker::parse(&bytes));
        Self { host, path, marker, applied: None }
    }

    /// Whether the commit must not be applied.
    pub(crate) fn condemns(&self, commit: CommitId) -> bool {
        self.applied.is_none() && self.marker.is_some_and(|marker| marker.commit == commit && marker.deaths >= DEATHS)
    }

    /// Call it before applying a commit. That the marker cannot be written is no reason not to apply.
    pub(crate) async fn applying(&mut self, commit: CommitId) {
        let deaths = match self.marker {
            Some(marker) if marker.commit == commit => marker.deaths + u32::from(self.applied.is_none()),
            _ => 1,
        };
        let marker = Marker { commit, deaths };
        if let Err(error) = self.host.files.replace(&self.path, marker.to_string().as_bytes()).await {
            tracing::warn!(file = %self.path.display(), %error, "the crash-loop marker cannot be written");
        }
        self.marker = Some(marker);
        self.applied = Some(Instant::now());
    }

    /// Call it now and then: clears the marker once the process has lived long enough.
    pub(crate) async fn look(&mut self) {
        if self.applied.is_some_and(|applied| applied.elapsed() >= SURVIVED) {
            self.survived().await;
        }
    }

    /// The process lived on, or stops in order: nothing was wrong with what this process applied. A commit that
    /// processes before died of stays condemned.
    pub(crate) async fn survived(&mut self) {
        if self.applied.take().is_none() {
            return;
        }
        self.marker = None;
        if let Err(error) = self.host.files.remove(&self.path).await {
            tracing::warn!(file = %self.path.display(), %error, "the crash-loop marker cannot be removed");
        }
    }
}

impl Marker {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (commit, deaths) = std::str::from_utf8(bytes).ok()?.trim_end().split_once(' ')?;
        Some(Self { commit: CommitId(commit.parse().ok()?), deaths: deaths.parse().ok()? })
    }
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} {}", self.commit, self.deaths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: CommitId = CommitId(9);

    #[tokio::test]
    async fn two_deaths_condemn_a_commit_and_surviving_clears_it() {
        let dir = tempfile::tempdir().unwrap();
        for condemned in [false, false, true, true] {
            let mut breaker = Breaker::open(Host::real(), dir.path()).await;
            assert_eq!(breaker.condemns(X), condemned);
            assert!(!breaker.condemns(CommitId(8)));
            if !condemned {
                // Twice in one process is one death.
                breaker.applying(X).await;
                breaker.applying(X).await;
            }
        }
        let mut breaker = Breaker::open(Host::real(), dir.path()).await;
        breaker.survived().await;
        assert!(Breaker::open(Host::real(), dir.path()).await.condemns(X), "this process did not apply it");
        breaker.applying(CommitId(10)).await;
        breaker.survived().await;
        assert!(!Breaker::open(Host::real(), dir.path()).await.condemns(X));
    }
}
