//! Where YAML comes from: a file, a directory, standard input.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Larger than any configuration that fits into a commit (1 MiB compressed); a mistaken path to a disk image must not
/// be read whole.
const MAX_BYTES: u64 = 16 << 20;

/// The text of one file.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the operator named it.
    pub file: Arc<str>,
    /// Its content.
    pub text: String,
}

impl Source {
    /// A text that is not from a file.
    pub fn new(file: &str, text: &str) -> Self {
        Self { file: file.into(), text: text.to_owned() }
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says no.
    #[error("read {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than 16 MiB.
    #[error("{0} is larger than 16 MiB, which no configuration is")]
    TooLarge(PathBuf),
    /// A directory holds nothing to read.
    #[error("{0} holds no *.yaml or *.yml file")]
    Empty(PathBuf),
}

/// The files behind `path`: itself, every `*.yaml` and `*.yml` of a directory sorted by name (not of directories
/// inside it), or standard input for `-`. Blocks.
pub fn read(path: &Path) -> Result<Vec<Source>, ReadError> {
    if path == Path::new("-") {
        return Ok(vec![bounded(Path::new("<stdin>"), std::io::stdin().lock())?]);
    }
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![file(path)?]);
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ReadError::Empty(path.to_owned()));
    }
    paths.sort();
    paths.iter().map(|path| file(path)).collect()
}

fn file(path: &Path) -> Result<Source, ReadError> {
    let opened = std::fs::File::open(path);
    bounded(path, opened.map_err(|source| ReadError::Io { path: path.to_owned(), source })?)
}

fn bounded(path: &Path, from: impl Read) -> Result<Source, ReadError> {
    let mut text = String::new();
    let read = from.take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge(path.to_owned()));
    }
    Ok(Source { file: path.display().to_string().into(), text })
}
