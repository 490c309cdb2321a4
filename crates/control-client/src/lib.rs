//! The node's side of the control plane: both lanes, the last-known-good file, and the operators' client.
//!
//! A [`Service`] keeps one Sync lane (configuration and accounts, to one control replica) and a Pulse lane to every
//! replica (liveness up, plans down). What arrives is checked, given to [`Serving`], and kept in a file, from which
//! the node starts when no replica answers. Nothing on a request's path ever waits on this crate.
//!
//! [`admin`] is the client of the operators' API, used by the command line.

pub mod admin;
mod backoff;
mod boot;
mod breaker;
mod dial;
#[cfg(test)]
mod fixtures;
mod handle;
mod held;
mod keeper;
mod last_known_good;
mod metrics;
mod options;
mod pulse;
mod service;
mod serving;
mod sync;

pub use handle::{ControlState, Handle, Session, SessionState};
pub use options::{NodeIdentity, Options, Role};
pub use service::Service;
pub use serving::{Peer, Published, Served, Serving, Source, Vitals};

/// How long [`Serving::answer`] may take: a person waits for it at the other end.
pub const ANSWER_DEADLINE: std::time::Duration = std::time::Duration::from_secs(5);
