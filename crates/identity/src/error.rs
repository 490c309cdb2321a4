//! What can be wrong with a certificate or its files.

use std::io;
use std::path::PathBuf;

/// Why an identity, a certificate or a TLS setting cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of an identity is not allowed.
    #[error("{text:?} is no valid {what}: {allowed}")]
    Name {
        /// Which part.
        what: &'static str,
        /// What was given.
        text: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A certificate names no identity, or more than one.
    #[error("certificate without identity: {0}")]
    NoIdentity(String),
    /// A file cannot be read or written.
    #[error("{action} {path}")]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file exists that must not be overwritten.
    #[error("{0} exists already; it is never overwritten: remove it first if you mean to replace it")]
    Exists(PathBuf),
    /// A PEM text does not hold what it should.
    #[error("{what} is unusable: {why}")]
    Pem {
        /// `CA certificates`, `certificate chain` or `private key`.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The TLS library refuses the settings, for example because key and certificate do not belong together.
    #[error("unusable TLS settings")]
    Tls(#[source] rustls::Error),
    /// A certificate cannot be made.
    #[error("issue certificate")]
    Issue(#[source] rcgen::Error),
}
