//! Bounded server-sent event framing: chunks of bytes in, whole events out, and a writer; no IO.
//!
//! Source: WHATWG HTML, "Server-sent events", <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.
//! A gateway forwards most events as they came, so an [`Event`] keeps its exact bytes (`raw`) beside its parsed fields,
//! and both are slices of the received chunk wherever an event arrived in one piece.

mod boundary;
mod event;
mod framer;
mod write;

pub use boundary::Boundary;
pub use event::Event;
pub use framer::{DEFAULT_MAX_EVENT_BYTES, FrameError, Framer};
pub use write::{comment, data, done, named, write_data};
