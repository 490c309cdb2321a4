//! The crash-loop breaker: a commit that twice killed the process soon after it was applied is not applied again.
//!
//! Before a commit is applied a marker file says so; it is removed when the process has lived on for [`SURVIVED`], or
//! stops in order. A process that finds the marker at its start knows that the one before died of it, perhaps. What
//! repairs a condemned commit is another commit: the verdict stands until there is a newer one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use meridian_host::Host;
use meridian_types::CommitId;
use tokio::time::Instant;

/// A process that lives this long after applying a commit did not die of it.
const SURVIVED: Duration = Duration::from_secs(60);
/// Deaths that condemn a commit. The first may have been chance: an operator's kill, the machine's power.
const DEATHS: u32 = 2;
/// The marker file: one line, see [`Marker`].
const FILE: &str = "applying";

/// The marker of one node.
pub(crate) struct Breaker {
    host: Host,
    path: PathBuf,
    marker: Marker,
    /// When this process last applied a commit; `None`: it did not, or outlived it.
    applied: Option<Instant>,
}

/// Three numbers with spaces between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marker {
    /// The commit that was last applied; none if it was survived.
    commit: CommitId,
    /// Processes that applied it and are not known to have survived it.
    deaths: u32,
    /// The last commit that was condemned.
    condemned: CommitId,
}

impl Breaker {
    /// Reads what the process before left in `dir`.
    pub(crate) async fn open(host: Host, dir: &Path) -> Self {
        let path = dir.join(FILE);
        let bytes = host.files.read(&path).await.unwrap_or_default();
        let mut marker = Marker::parse(&bytes).unwrap_or_default();
        if marker.deaths >= DEATHS {
            marker = Marker { condemned: marker.commit, ..Marker::default() };
        }
        Self { host, path, marker, applied: None }
    }

    /// Whether the commit must not be applied.
    pub(crate) fn condemns(&self, commit: CommitId) -> bool {
        commit != CommitId::NONE && self.marker.condemned == commit
    }

    /// Call it before applying a commit. That the marker cannot be written is no reason not to apply.
    pub(crate) async fn applying(&mut self, commit: CommitId) {
        if self.marker.commit == commit {
            self.marker.deaths += u32::from(self.applied.is_none());
        } else {
            self.marker = Marker { commit, deaths: 1, ..self.marker };
        }
        self.applied = Some(Instant::now());
        self.write().await;
    }

    /// Call it now and then: clears the marker once the process has lived long enough.
    pub(crate) async fn look(&mut self) {
        if self.applied.is_some_and(|applied| applied.elapsed() >= SURVIVED) {
            self.survived().await;
        }
    }

    /// The process lived on, or stops in order: nothing was wrong with what it applied.
    pub(crate) async fn survived(&mut self) {
        if self.applied.take().is_some() {
            self.marker = Marker { condemned: self.marker.condemned, ..Marker::default() };
            self.write().await;
        }
    }

    async fn write(&self) {
        let files = &self.host.files;
        let written = match self.marker {
            marker if marker == Marker::default() => files.remove(&self.path).await,
            marker => files.replace(&self.path, marker.to_string().as_bytes()).await,
        };
        if let Err(error) = written {
            tracing::warn!(file = %self.path.display(), %error, "the crash-loop marker cannot be written");
        }
    }
}

impl Marker {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(bytes).ok()?.split_ascii_whitespace();
        let mut number = || words.next()?.parse::<u64>().ok();
        let (commit, deaths, condemned) = (number()?, number()?, number()?);
        Some(Self { commit: CommitId(commit), deaths: deaths.try_into().ok()?, condemned: CommitId(condemned) })
    }
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} {} {}", self.commit, self.deaths, self.condemned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: CommitId = CommitId(9);

    #[tokio::test]
    async fn two_deaths_condemn_a_commit_for_good() {
        let dir = tempfile::tempdir().unwrap();
        for condemned in [false, false, true, true] {
            let mut breaker = Breaker::open(Host::real(), dir.path()).await;
            assert_eq!(breaker.condemns(X), condemned);
            assert!(!breaker.condemns(CommitId(8)));
            let commit = if condemned { CommitId(8) } else { X };
            // Twice in one process is one death.
            breaker.applying(commit).await;
            breaker.applying(commit).await;
            if condemned {
                breaker.survived().await;
            }
        }
    }

    #[tokio::test]
    async fn a_commit_that_is_survived_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let mut breaker = Breaker::open(Host::real(), dir.path()).await;
            breaker.applying(X).await;
            breaker.survived().await;
            breaker.applying(X).await;
            let mut breaker = Breaker::open(Host::real(), dir.path()).await;
            assert!(!breaker.condemns(X));
            breaker.applying(X).await;
            breaker.survived().await;
        }
        assert!(!dir.path().join(FILE).exists());
    }
}
