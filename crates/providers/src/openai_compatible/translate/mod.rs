//! For clients that speak Anthropic's Messages: their requests as chat completions, and the answers and streams back.
//!
//! What cannot be carried over: which stop text ended an answer, signatures of thinking, and the use of the prompt cache
//! before the end of a stream.

mod answer;
mod request;
mod stream;
mod turns;
mod wire;

pub(super) use answer::translate as answer;
pub(super) use request::build as request;
pub(super) use stream::Translator;

use meridian_llm::FinishReason;

/// `finish_reason` in canonical form. Some imitations say `stop` for an answer that calls tools.
fn finish_reason(reason: &str, calls_tools: bool) -> FinishReason {
    match reason {
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        _ if calls_tools => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}
