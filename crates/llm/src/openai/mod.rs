//! OpenAI's chat completions dialect: what clients speak to the gateway, and what most providers speak upstream.
//!
//! Source: OpenAI API reference, "Chat Completions", <https://platform.openai.com/docs/api-reference/chat>, and the
//! types of openai-python 3.54.

mod answer;
mod chunk;
mod parse;
mod request;
mod rewrite;
mod usage;
mod wire;
mod write;

pub use answer::{AnswerFacts, inspect_answer};
pub use chunk::{ChunkData, ChunkFacts, inspect_chunk};
pub use parse::parse_request;
pub use request::ChatRequestBody;
pub use write::{ChunkWriter, response_body};
