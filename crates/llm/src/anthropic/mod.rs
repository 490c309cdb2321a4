//! Anthropic's Messages dialect: the second one that clients speak to the gateway.
//!
//! Source: Anthropic API reference, "Messages", "Streaming messages" and "Errors",
//! <https://platform.claude.com/docs/en/api/messages>, and the types of anthropic-python 2.12. Versions 2023-06-01 and
//! 2026-10-21 (<https://platform.claude.com/docs/en/api/versioning>) differ in what requests may hold, which is left to the
//! upstream to judge; answers, streams and errors have one form in both.

mod answer;
mod event;
mod parse;
mod request;
mod unsigned;
mod usage;
mod wire;
mod write;

pub use answer::{AnswerFacts, inspect_answer};
pub use event::{EventFacts, EventKind, inspect_event};
pub use parse::parse_request;
pub use request::MessagesRequestBody;
pub use usage::Counts;
pub use write::{EventWriter, OutOfOrder, message_stop, response_body, tool_id};
