//! Asks an upstream to go on with an answer that another one has begun.
//!
//! Sources: Anthropic, "Prefill Claude's response", <https://platform.claude.com/docs/en/build-with-claude/prefill-claudes-response>;
//! DeepSeek, "Chat Prefix Completion", <https://api-docs.deepseek.com/guides/chat_prefix_completion>; Mistral's API reference,
//! `prefix` of an assistant message; Kimi, "Partial Mode", <https://platform.kimi.ai/docs>; vLLM's
//! `ChatCompletionRequest`.

use meridian_llm::{Begun, Dialect, Marks};
use meridian_types::model::Prefill;

use crate::{Provider, UpstreamRequest};

/// Whether a target can be asked; `configured` is how it is told to.
#[must_use]
pub fn can_continue(codec: &dyn Provider, configured: Option<Prefill>) -> bool {
    configured.unwrap_or(codec.capabilities().prefill) != Prefill::No
}

/// `request`, made by `codec`, with what was said at its end; `configured` is how the target is told to go on. `None` if it
/// cannot, or if the client has put words into the assistant's mouth itself.
#[must_use]
pub fn continue_request(
    codec: &dyn Provider,
    configured: Option<Prefill>,
    request: UpstreamRequest,
    begun: Begun<'_>,
) -> Option<UpstreamRequest> {
    let capabilities = codec.capabilities();
    let marks = match (configured.unwrap_or(capabilities.prefill), capabilities.dialect) {
        (Prefill::No, _) => return None,
        // There it is the only way.
        (_, Dialect::Anthropic) | (Prefill::LastMessage, _) => Marks::default(),
        (Prefill::PrefixField, _) => Marks { message: &["\"prefix\":true"], request: &[] },
        (Prefill::PartialField, _) => Marks { message: &["\"partial\":true"], request: &[] },
        (Prefill::ContinueFinalMessage, _) => {
            Marks { message: &[], request: &["\"continue_final_message\":true", "\"add_generation_prompt\":false"] }
        }
    };
    let body = begun.append_to(&request.body, marks).ok().flatten()?;
    Some(UpstreamRequest { body, ..request })
}
