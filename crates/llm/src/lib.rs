//! Canonical chat requests, responses and stream events, and the client dialects; no IO.
//!
//! A [`ClientRequest`] is a body in the dialect of the path that was called. Two ways lead from it. Same dialect upstream:
//! the few fields that the gateway needs are read, one or two are rewritten in place, and each event of the answer is judged
//! in one scan ([`openai::inspect_chunk`], [`anthropic::inspect_event`]); all other bytes pass untouched. Another dialect:
//! [`ClientRequest::canonical`] gives a [`ChatRequest`], and [`openai::ChunkWriter`] or [`anthropic::EventWriter`] writes
//! canonical [`StreamEvent`]s as the client expects them. An answer that another upstream has to finish is joined from its
//! pieces by a [`Transcript`] and a [`Splice`].

pub mod anthropic;
mod begun;
mod client;
mod dialect;
pub mod error;
pub mod failure;
mod head;
pub mod json;
mod limit;
mod message;
pub mod openai;
mod request;
mod response;
mod splice;
mod stream;
mod usage;
mod wire;

pub use begun::{Begun, Marks};
pub use client::ClientRequest;
pub use dialect::{Dialect, Endpoint};
pub use error::ClientError;
pub use failure::{ErrorReply, Failure, FailureClass};
pub use head::RequestHead;
pub use limit::name_limit;
pub use meridian_types::ErrorCode;
pub use message::{AssistantPart, Message, Part, ToolCall};
pub use request::{ChatRequest, ResponseFormat, Sampling, Tool, ToolChoice};
pub use response::{ChatResponse, FinishReason};
pub use splice::{MAX_KEPT_BYTES, Splice, Transcript, Unspliceable};
pub use stream::StreamEvent;
pub use usage::Usage;
