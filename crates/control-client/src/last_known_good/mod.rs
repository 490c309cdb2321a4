//! The last-known-good files: what a node starts from when no control replica answers.
//!
//! A generation is one commit; its file also holds accounts and plan, and is replaced as these change. Three are
//! kept: the current one, one to fall back to when it is corrupt, one more for when the current *commit* is what kills
//! the process (see [`crate::breaker`]).

mod file;

use std::io;
use std::path::{Path, PathBuf};

use meridian_host::Host;
use meridian_types::CommitId;

pub(crate) use file::Saved;

use crate::held::Held;

/// Generations kept.
const KEPT: usize = 3;
/// File names are `generation-<number>.lkg`.
const PREFIX: &str = "generation-";
const SUFFIX: &str = ".lkg";

/// The files of one node.
pub(crate) struct Store {
    host: Host,
    dir: PathBuf,
    /// Of the file that the next write replaces, and the commit in it; `None`: the next write begins a generation.
    current: Option<(u64, CommitId)>,
    /// Highest number ever seen.
    highest: u64,
}

impl Store {
    /// The files in `dir`. Nothing is read yet.
    pub(crate) fn new(host: Host, dir: PathBuf) -> Self {
        Self { host, dir, current: None, highest: 0 }
    }

    /// Every generation that can be read, newest first. One that cannot is reported and passed over.
    pub(crate) async fn load(&mut self) -> Vec<Saved> {
        let mut found = Vec::new();
        for (number, path) in self.generations().await.unwrap_or_else(|error| {
            tracing::error!(dir = %self.dir.display(), %error, "cannot list the last-known-good files");
            Vec::new()
        }) {
            self.highest = self.highest.max(number);
            match self.read(&path).await {
                Ok(saved) => {
                    if self.current.is_none() {
                        self.current = Some((number, commit_of(&saved.held)));
                    }
                    found.push(saved);
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &*error;
                    tracing::error!(file = %path.display(), error, "last-known-good file passed over");
                }
            }
        }
        found
    }

    /// Writes `held`: into the current generation if the commit is the same, else as a new one.
    pub(crate) async fn save(&mut self, held: &Held) -> io::Result<()> {
        let commit = commit_of(held);
        let number = match self.current {
            Some((number, current)) if current == commit => number,
            _ => self.highest.saturating_add(1),
        };
        let path = self.dir.join(format!("{PREFIX}{number:08}{SUFFIX}"));
        let bytes = file::encode(held, self.host.clock.now_unix_ms());
        self.host.files.replace(&path, &bytes).await?;
        self.current = Some((number, commit));
        self.highest = self.highest.max(number);
        self.forget_old().await;
        Ok(())
    }

    async fn read(&self, path: &Path) -> Result<Saved, Box<dyn std::error::Error + Send + Sync>> {
        let bytes = self.host.files.read(path).await?;
        Ok(file::decode(&bytes)?)
    }

    /// Number and path, newest first; other files in the directory are none of ours.
    async fn generations(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let number = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
        };
        let paths = self.host.files.list(&self.dir).await?;
        let mut found: Vec<_> = paths.into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// Old files only take space: failing to remove one is tried again with the next write.
    async fn forget_old(&self) {
        for (_, path) in self.generations().await.unwrap_or_default().into_iter().skip(KEPT) {
            if let Err(error) = self.host.files.remove(&path).await {
                tracing::warn!(file = %path.display(), %error, "old last-known-good file not removed");
            }
        }
    }
}

fn commit_of(held: &Held) -> CommitId {
    held.commit.as_ref().map_or(CommitId::NONE, |commit| commit.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn store(dir: &Path) -> Store {
        Store::new(Host::real(), dir.to_owned())
    }

    async fn commits(dir: &Path) -> Vec<u64> {
        let loaded = store(dir).load().await;
        loaded.iter().map(|saved| commit_of(&saved.held).0).collect()
    }

    #[tokio::test]
    async fn three_generations_are_kept_and_accounts_do_not_begin_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = store(dir.path());
        for commit in [1, 2, 3, 4] {
            let mut held = fixtures::held(commit);
            writer.save(&held).await.unwrap();
            held.accounts = None;
            writer.save(&held).await.unwrap();
        }
        assert_eq!(commits(dir.path()).await, [4, 3, 2]);
        assert!(store(dir.path()).load().await.iter().all(|saved| saved.held.accounts.is_none()));
    }

    #[tokio::test]
    async fn a_corrupt_generation_falls_back_to_the_one_before_and_the_next_write_does_not_reuse_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = store(dir.path());
        for commit in [1, 2] {
            writer.save(&fixtures::held(commit)).await.unwrap();
        }
        let newest = writer.generations().await.unwrap().remove(0).1;
        std::fs::write(&newest, b"meridian-last-known-good 1 beef\n").unwrap();
        assert_eq!(commits(dir.path()).await, [1]);
        let mut again = store(dir.path());
        again.load().await;
        again.save(&fixtures::held(3)).await.unwrap();
        assert_eq!(commits(dir.path()).await, [3, 1]);
    }

    #[tokio::test]
    async fn an_empty_or_missing_directory_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(commits(&dir.path().join("none")).await.is_empty());
    }
}
