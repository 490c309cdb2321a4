//! The wire to nodes: two lanes, one task for each stream.

mod outbox;
mod pulse;
mod questions;
mod service;
mod sync;
mod transfer;

pub(crate) use service::Nodes;
pub(crate) use transfer::WHOLE_AT_ONCE;
