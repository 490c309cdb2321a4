//! Canonical chat requests, responses and stream events, and the client dialects; no IO.
//!
//! Two ways lead through this crate. Same dialect in and out: [`openai::RequestHead`] reads the few fields that the
//! gateway needs, rewrites two of them in place, and [`openai::ChunkFacts`] judges each stream chunk in one scan; all
//! other bytes pass untouched. Another dialect: [`openai::parse_request`] gives a canonical [`ChatRequest`], and
//! [`openai::ChunkWriter`] writes canonical [`StreamEvent`]s as chunks.

pub mod error;
pub mod failure;
pub mod json;
mod message;
pub mod openai;
mod request;
mod response;
mod stream;
mod usage;

pub use error::ClientError;
pub use failure::{ErrorReply, Failure, FailureClass};
pub use meridian_types::ErrorCode;
pub use message::{AssistantPart, Message, Part, ToolCall};
pub use request::{ChatRequest, ResponseFormat, Sampling, Tool, ToolChoice};
pub use response::{ChatResponse, FinishReason};
pub use stream::StreamEvent;
pub use usage::Usage;
