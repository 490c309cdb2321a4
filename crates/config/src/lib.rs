//! YAML to messages with file, line and path in every mistake; process configuration.
//!
//! - [`load`] reads resources: several documents in several files, and reports the mistakes of all of them together.
//! - [`read`] does the same and keeps what is readable, so that references are checked in the same run.
//! - [`to_yaml`] writes resources as YAML that [`load`] reads back.
//! - [`process`] reads what one process is told at start: `node.yaml`, `dns.yaml`.
//!
//! Nothing here opens a socket; only [`source`] reads files, blocking, at start or for a command.

mod document;
mod draft;
mod mistake;
pub mod process;
mod render;
mod resources;
mod schema;
pub mod source;
mod suggest;
mod yaml;

#[cfg(test)]
mod tests;

pub use draft::{Draft, from_control_plane, load, read};
pub use mistake::{Located, Place};
pub use render::{RenderError, describe, to_json, to_yaml};
pub use resources::Loaded;
pub use source::Source;
