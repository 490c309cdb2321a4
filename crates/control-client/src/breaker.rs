//! The crash-loop breaker: a commit that twice killed the process soon after it was applied is not applied again.
//!
//! Before a commit is applied a marker file says so; it is removed when the process has lived on for [`SURVIVED`], or
//! stops in order. A process that finds the marker at its start knows that the one before died of it, perhaps. What
//! repairs a condemned commit is another commit: the verdict stands until there is a newer one. A commit is known by its
//! number and its content, because numbers are given out again after a restore.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use meridian_host::Host;
use meridian_types::{CommitId, Digest};
use tokio::time::Instant;

/// A process that lives this long after applying a commit did not die of it.
const SURVIVED: Duration = Duration::from_secs(60);
/// Deaths that condemn a commit. The first may have been chance: an operator's kill, the machine's power.
const DEATHS: u32 = 2;
/// A disk that does not answer for so long (a stuck volume, a lost NFS server) is not waited for: configuration goes on without
/// the marker. A busy one takes a tenth of it.
const DISK_PATIENCE: Duration = Duration::from_secs(1);
/// The marker file: one line, see [`Marker`]. An older build reads the numbers and leaves the rest.
const FILE: &str = "applying";

/// The marker of one node.
pub(crate) struct Breaker {
    host: Host,
    path: PathBuf,
    marker: Marker,
    /// When this process last applied a commit; `None`: it did not, or outlived it.
    applied: Option<Instant>,
    /// The file does not hold the marker yet.
    unwritten: bool,
    /// A write that has not ended. The next waits for it: one that hangs and ends late must not undo what came after it.
    writing: Option<BoxFuture<'static, io::Result<()>>>,
}

/// Three numbers and two digests with spaces between: number of the suspect, deaths, number of the condemned, and the
/// contents of both. The file of an older build ends after the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marker {
    /// The commit that was last applied; none if it was survived.
    suspect: Marked,
    /// Processes that applied it and are not known to have survived it.
    deaths: u32,
    /// The last commit that was condemned.
    condemned: Marked,
}

/// A commit in the marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marked {
    id: CommitId,
    /// Of its content. `None`: an older build did not write it, and the number is all there is.
    digest: Option<Digest>,
}

impl Breaker {
    /// Reads what the process before left in `dir`.
    pub(crate) async fn open(host: Host, dir: &Path) -> Self {
        let path = dir.join(FILE);
        let bytes = host.files.read(&path).await.unwrap_or_default();
        let mut marker = Marker::parse(&bytes).unwrap_or_default();
        if marker.deaths >= DEATHS {
            marker = Marker { condemned: marker.suspect, ..Marker::default() };
        }
        Self { host, path, marker, applied: None, unwritten: false, writing: None }
    }

    /// Whether the commit must not be applied.
    pub(crate) fn condemns(&self, commit: CommitId, digest: Digest) -> bool {
        self.marker.condemned.is(commit, digest)
    }

    /// Call it before applying a commit; returns within [`DISK_PATIENCE`]. That the marker cannot be written is no reason not to
    /// apply.
    pub(crate) async fn applying(&mut self, commit: CommitId, digest: Digest) {
        let before = self.marker.suspect.is(commit, digest);
        let deaths = if before { self.marker.deaths + u32::from(self.applied.is_none()) } else { 1 };
        let suspect = Marked { id: commit, digest: Some(digest) };
        self.marker = Marker { suspect, deaths, ..self.marker };
        self.applied = Some(Instant::now());
        self.write().await;
    }

    /// Call it now and then: clears the marker once the process has lived long enough, and writes what could not be written.
    pub(crate) async fn look(&mut self) {
        if self.applied.is_some_and(|applied| applied.elapsed() >= SURVIVED) {
            self.survived().await;
        } else if self.unwritten {
            self.write().await;
        }
    }

    /// The process lived on, or stops in order: nothing was wrong with what it applied.
    pub(crate) async fn survived(&mut self) {
        if self.applied.take().is_some() {
            self.marker = Marker { condemned: self.marker.condemned, ..Marker::default() };
            self.unwritten = true;
        }
        if self.unwritten {
            self.write().await;
        }
    }

    async fn write(&mut self) {
        self.unwritten = true;
        let written = tokio::time::timeout(DISK_PATIENCE, self.written()).await;
        match written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => self.unwritten = false,
            Err(error) => {
                let file = self.path.display();
                tracing::warn!(%file, %error, "the crash-loop marker cannot be written; going on without it");
            }
        }
    }

    async fn written(&mut self) -> io::Result<()> {
        if let Some(before) = &mut self.writing {
            // What became of it is of no interest: the marker is written whole now.
            let _ = before.await;
        }
        let (files, path, marker) = (self.host.files.clone(), self.path.clone(), self.marker);
        let writing = async move {
            match marker {
                marker if marker == Marker::default() => files.remove(&path).await,
                marker => files.replace(&path, marker.to_string().as_bytes()).await,
            }
        };
        let written = self.writing.insert(writing.boxed()).await;
        self.writing = None;
        written
    }
}

impl Marked {
    fn is(&self, commit: CommitId, digest: Digest) -> bool {
        self.id != CommitId::NONE && self.id == commit && self.digest.is_none_or(|marked| marked == digest)
    }
}

impl Marker {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(bytes).ok()?.split_ascii_whitespace();
        let mut number = || words.next()?.parse::<u64>().ok();
        let (suspect, deaths, condemned) = (number()?, number()?, number()?);
        let mut marked = |id| {
            let digest = words.next().and_then(|word| Digest::from_slice(&hex::decode(word).ok()?));
            Marked { id: CommitId(id), digest }
        };
        let (suspect, condemned) = (marked(suspect), marked(condemned));
        Some(Self { suspect, deaths: deaths.try_into().ok()?, condemned })
    }
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { suspect, deaths, condemned } = self;
        let digest = |marked: &Marked| marked.digest.map_or("-".to_owned(), |digest| digest.to_string());
        writeln!(f, "{} {deaths} {} {} {}", suspect.id, condemned.id, digest(suspect), digest(condemned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: CommitId = CommitId(9);
    const DEADLY: Digest = Digest([1; 32]);
    const GOOD: Digest = Digest([2; 32]);

    #[tokio::test]
    async fn two_deaths_condemn_a_commit_for_good() {
        let dir = tempfile::tempdir().unwrap();
        for condemned in [false, false, true, true] {
            let mut breaker = Breaker::open(Host::real(), dir.path()).await;
            assert_eq!(breaker.condemns(X, DEADLY), condemned);
            assert!(!breaker.condemns(CommitId(8), GOOD));
            let (commit, digest) = if condemned { (CommitId(8), GOOD) } else { (X, DEADLY) };
            // Twice in one process is one death.
            breaker.applying(commit, digest).await;
            breaker.applying(commit, digest).await;
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
            breaker.applying(X, DEADLY).await;
            breaker.survived().await;
            breaker.applying(X, DEADLY).await;
            let mut breaker = Breaker::open(Host::real(), dir.path()).await;
            assert!(!breaker.condemns(X, DEADLY));
            breaker.applying(X, DEADLY).await;
            breaker.survived().await;
        }
        assert!(!dir.path().join(FILE).exists());
    }

    #[tokio::test]
    async fn another_content_with_the_number_of_a_condemned_one_is_not_condemned() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            Breaker::open(Host::real(), dir.path()).await.applying(X, DEADLY).await;
        }
        let mut breaker = Breaker::open(Host::real(), dir.path()).await;
        assert!(breaker.condemns(X, DEADLY) && !breaker.condemns(X, GOOD));
        // Nor do the deaths of one content count for another, and the verdict stands beside a new suspect.
        breaker.applying(X, GOOD).await;
        let breaker = Breaker::open(Host::real(), dir.path()).await;
        assert!(breaker.condemns(X, DEADLY) && !breaker.condemns(X, GOOD));
    }

    #[tokio::test]
    async fn the_marker_of_an_older_build_is_read_and_means_the_number() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "9 1 7\n").unwrap();
        let mut breaker = Breaker::open(Host::real(), dir.path()).await;
        assert!(breaker.condemns(CommitId(7), GOOD) && !breaker.condemns(X, DEADLY));
        // Its death counts, and from now on the content is known.
        breaker.applying(X, DEADLY).await;
        let breaker = Breaker::open(Host::real(), dir.path()).await;
        assert!(breaker.condemns(X, DEADLY) && !breaker.condemns(X, GOOD));
    }
}
