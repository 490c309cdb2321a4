//! Files, for what must survive the process.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

/// What tells two contents of a file apart without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub length: u64,
    /// When it was last written, in nanoseconds since 1970; 0 where nothing keeps it.
    pub written_unix_ns: u128,
}

/// Whole-file access. Nothing here is on a request's path.
#[async_trait]
pub trait Files: Send + Sync {
    /// The whole file.
    async fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Whether the file may have changed since the last look. Where nothing keeps the time, contents of one length pass
    /// for the same.
    async fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        let content = self.read(path).await?;
        Ok(Stamp { length: content.len() as u64, written_unix_ns: 0 })
    }

    /// Replaces the file so that a crash leaves either the old or the new content: temporary file, fsync, rename,
    /// fsync of the directory. Makes missing directories, readable by the owner only.
    async fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Removes the file; that there is none is no error.
    async fn remove(&self, path: &Path) -> io::Result<()>;

    /// Paths of the directory's files, sorted; empty if there is no such directory.
    async fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

#[async_trait]
impl Files for DiskFiles {
    async fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        tokio::fs::read(path).await
    }

    async fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        let metadata = tokio::fs::metadata(path).await?;
        let written = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Stamp { length: metadata.len(), written_unix_ns: written.as_nanos() })
    }

    async fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let (path, content) = (path.to_owned(), content.to_owned());
        off_the_runtime(move || replace(&path, &content)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        match tokio::fs::remove_file(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut entries = match tokio::fs::read_dir(dir).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            if entry.file_type().await?.is_file() {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_private_dir(dir)?;
    // tempfile creates with mode 0600, and removes the file if it is not persisted.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(dir)?.sync_all()
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn replace_makes_directories_and_swaps_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        DiskFiles.replace(&path, b"one").await.unwrap();
        DiskFiles.replace(&path, b"two").await.unwrap();
        assert_eq!(DiskFiles.read(&path).await.unwrap(), b"two");
        assert_eq!(DiskFiles.list(path.parent().unwrap()).await.unwrap(), std::slice::from_ref(&path));
        DiskFiles.remove(&path).await.unwrap();
        DiskFiles.remove(&path).await.unwrap();
        assert!(DiskFiles.list(&dir.path().join("none")).await.unwrap().is_empty());
    }
}
