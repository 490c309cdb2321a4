//! What can go wrong before an answer's head is there.

use std::path::PathBuf;

use meridian_resilience::Stage;

/// A transport or an upstream cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The file of additional certificate authorities is unusable.
    #[error("read certificate authorities from {path}")]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// The provider's base URL is none that can be called.
    #[error("the base URL is not an absolute http or https URL")]
    BaseUrl,
}

/// No answer came.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no usable credential on this node.
    #[error("no usable credential: {0}")]
    Credential(#[from] crate::CredentialError),
    /// The path that the codec gave does not make a URL.
    #[error("the request makes no valid URL")]
    Url,
    /// A deadline passed.
    #[error("{}", .0.message())]
    Deadline(Stage),
    /// TCP or TLS could not be established.
    #[error("connect to the upstream")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// The connection broke before the answer's head.
    #[error("send the request")]
    Broken(#[source] hyper_util::client::legacy::Error),
}

impl SendError {
    /// What happened, from closed texts.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            Self::Credential(_) => "the gateway's credential for the upstream is not available",
            Self::Url => "the gateway cannot build the upstream's URL",
            Self::Deadline(stage) => stage.message(),
            Self::Connect(_) => "the upstream could not be connected to",
            Self::Broken(_) => "the connection to the upstream broke before its answer",
        }
    }
}
