//! What the control plane keeps in the store: keys, documents, commits.

pub(crate) mod commit;
pub(crate) mod document;
pub(crate) mod layout;

pub(crate) use commit::Commit;
pub(crate) use layout::{Key, Layout};
