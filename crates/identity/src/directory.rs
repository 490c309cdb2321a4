//! An authority kept as files: what `meridian pki` works on.
//!
//! Blocking file access: for the command line, never for a runtime thread of a serving process.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::{Authority, Error, Identity};

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca-key.pem";

/// A directory with the authority's certificate and key, and whatever it issued.
#[derive(Debug, Clone)]
pub struct AuthorityDirectory {
    path: PathBuf,
}

/// Where an issued certificate was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key, readable by the owner only.
    pub key: PathBuf,
}

impl AuthorityDirectory {
    /// The directory at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The authority's certificate: what goes to every machine.
    pub fn certificate(&self) -> PathBuf {
        self.path.join(CERTIFICATE)
    }

    /// The authority's key: what stays here.
    pub fn key(&self) -> PathBuf {
        self.path.join(KEY)
    }

    /// Makes a new authority; never replaces one.
    pub fn init(&self, cluster: &str, now_unix_ms: i64) -> Result<(), Error> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.path).map_err(|source| failed("write", &self.path, source))?;
        let authority = Authority::generate(cluster, now_unix_ms)?;
        write_new(&self.key(), authority.key_pem(), 0o600)?;
        write_new(&self.certificate(), authority.certificate_pem(), 0o644)
    }

    /// Issues into `<role>-[<region>-]<name>.pem` and `...-key.pem`; never replaces them.
    pub fn issue(
        &self,
        identity: &Identity,
        hosts: &[String],
        now_unix_ms: i64,
        days: u32,
    ) -> Result<IssuedFiles, Error> {
        let authority = Authority::from_pem(&read(&self.certificate())?, &read(&self.key())?)?;
        let issued = authority.issue(identity, hosts, now_unix_ms, days)?;
        let region = identity.region.as_ref().map(|region| format!("{region}-")).unwrap_or_default();
        let stem = format!("{}-{region}{}", identity.role, identity.name);
        let files = IssuedFiles {
            certificate: self.path.join(format!("{stem}.pem")),
            key: self.path.join(format!("{stem}-key.pem")),
        };
        if files.certificate.exists() {
            return Err(Error::Exists(files.certificate));
        }
        write_new(&files.key, &issued.key_pem, 0o600)?;
        write_new(&files.certificate, &issued.certificate_pem, 0o644)?;
        Ok(files)
    }
}

fn write_new(path: &Path, content: &str, mode: u32) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    match file.and_then(|mut file| file.write_all(content.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Exists(path.to_owned())),
        Err(error) => Err(failed("write", path, error)),
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| failed("read", path, source))
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}
