//! The operators' API.

mod accounts;
mod apply;
mod check;
mod events;
mod explain;
mod fleet;
mod overrides;
mod rehearse;
mod service;
mod write;

pub(crate) use service::Admin;
