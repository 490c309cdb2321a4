//! Why an instance cannot start.

use std::io;
use std::path::{Path, PathBuf};

use meridian_control_client::admin;

use crate::BindError;

/// Why an instance cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store cannot be opened.
    #[error("open the store in {dir}")]
    Store {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: meridian_store::Error,
    },
    /// A file cannot be read or written.
    #[error("{what} {path}")]
    Files {
        /// `read` or `write`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificates of the node lanes cannot be made.
    #[error("make the certificates of the instance")]
    Identity(#[from] meridian_identity::Error),
    /// A part cannot be built.
    #[error("start {what}")]
    Part {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A node cannot be built.
    #[error("start a node")]
    Node {
        /// Why.
        #[source]
        source: meridian_node::BuildError,
    },
    /// The control plane does not take the connection.
    #[error(transparent)]
    Admin(#[from] admin::ConnectError),
    /// The control plane refused a call.
    #[error("the control plane says: {}", .0.message())]
    Refused(#[from] tonic::Status),
    /// The examples do not fit what is in the store.
    #[error("the example configuration is refused:\n{0}")]
    Examples(String),
    /// A part did not become ready.
    #[error("{what} is not ready after {seconds} s: {reason}")]
    NotReady {
        /// Which.
        what: String,
        /// How long was waited.
        seconds: u64,
        /// What it says.
        reason: String,
    },
}

impl Error {
    pub(crate) fn files(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Files { what, path: path.to_owned(), source }
    }

    pub(crate) fn part(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Part { what, source }
    }
}
