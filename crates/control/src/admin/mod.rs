//! The operators' API.

mod accounts;
mod apply;
mod check;
mod explain;
mod fleet;
mod overrides;
mod service;
mod write;

pub(crate) use service::Admin;
