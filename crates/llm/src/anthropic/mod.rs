//! Anthropic's Messages dialect: the second one that clients speak to the gateway.
//!
//! Source: Anthropic API reference, "Messages", "Streaming messages" and "Errors",
//! <https://platform.claude.com/docs/en/api/messages>, and the types of anthropic-python 2.12.

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
pub use write::{EventWriter, OutOfOrder, message_stop, response_body};
