//! Documents at rest: messages that carry the version of their form.

use bytes::Bytes;
use meridian_proto::store::v1 as stored;
use prost::Message;

/// The form that this build writes, and the highest that it reads.
pub(crate) const FORM: u32 = 1;

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    #[error("has form {0}, which a newer build wrote; this one reads up to {FORM}")]
    Newer(u32),
    #[error("cannot be decompressed")]
    Compression(#[source] std::io::Error),
    #[error("{0}")]
    Content(String),
}

/// A message with a version.
pub(crate) trait Document: Message + Default {
    fn form(&self) -> u32;
}

macro_rules! documents {
    ($($message:ident),*) => {
        $(impl Document for stored::$message {
            fn form(&self) -> u32 {
                self.form
            }
        })*
    };
}

documents!(
    Commit,
    Head,
    Rollout,
    Pin,
    Override,
    Faults,
    Switches,
    RegisteredNode,
    Outcome,
    AuditEntry,
    Epoch,
    Replica,
    Beacon,
    Backup
);

/// Reads a document.
pub(crate) fn read<D: Document>(value: &[u8]) -> Result<D, DocumentError> {
    let document = D::decode(value)?;
    if document.form() > FORM { Err(DocumentError::Newer(document.form())) } else { Ok(document) }
}

/// Writes any message.
pub(crate) fn write(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
