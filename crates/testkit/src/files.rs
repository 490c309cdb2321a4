//! Files in memory: they outlive a simulated host's crash, as a disk does.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use meridian_host::Files;

/// A disk of its own; cheap to clone, clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    files: Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>,
}

impl MemoryFiles {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>) -> T) -> T {
        work(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Files for MemoryFiles {
    async fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.with(|files| files.get(path).cloned()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    async fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.with(|files| files.insert(path.to_owned(), content.to_owned()));
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.with(|files| files.remove(path));
        Ok(())
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.with(|files| files.keys().filter(|path| path.parent() == Some(dir)).cloned().collect()))
    }
}
