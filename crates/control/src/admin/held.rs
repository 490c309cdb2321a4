//! A document that is read, decided on, and replaced whole: the write holds only if nobody else wrote in between.

use meridian_store::{Compare, Revision, Txn};
use tonic::Status;

use super::write::refused;
use crate::shared::Shared;
use crate::store::document::{self, Document};

/// A document as it was read; an empty one if there was none.
pub(super) struct Held<D> {
    pub(super) document: D,
    key: String,
    revision: Revision,
}

impl<D: Document> Held<D> {
    /// Reads what `key` holds; `what` names it for people.
    ///
    /// # Errors
    /// Those of the store; `internal`: it holds something that this build cannot read.
    pub(super) async fn read(shared: &Shared, key: String, what: &str) -> Result<Self, Status> {
        let entry = shared.store.get(&key).await.map_err(|error| refused(&error))?;
        let Some(entry) = entry else { return Ok(Self { document: D::default(), key, revision: Revision::ZERO }) };
        let document = document::read(&entry.value);
        let document = document.map_err(|error| Status::internal(format!("the document of {what} {error}")))?;
        Ok(Self { document, key, revision: entry.mod_revision })
    }

    /// Puts another one in its place.
    pub(super) fn replaced(self, by: &D) -> Txn {
        let compare = Compare::mod_revision(&self.key, self.revision);
        Txn::new().when(compare).put(self.key, document::write(by))
    }
}
