//! Tells an upstream the limit to an answer's tokens by the name that it knows.

use meridian_llm::{Dialect, name_limit};
use meridian_types::provider::TokenLimit;

use crate::{Provider, UpstreamRequest};

/// `request`, made by `codec`, with its limit under the name that is `configured` for the upstream. Not configured, or in a
/// dialect that has one name for it, it stays as it is.
#[must_use]
pub fn name_token_limit(
    codec: &dyn Provider,
    configured: Option<TokenLimit>,
    request: UpstreamRequest,
) -> UpstreamRequest {
    match (configured, codec.capabilities().dialect) {
        (Some(name), Dialect::OpenAi) => {
            // A codec makes JSON objects.
            let body = name_limit(&request.body, name).unwrap_or_else(|_| request.body.clone());
            UpstreamRequest { body, ..request }
        }
        (None, _) | (_, Dialect::Anthropic) => request,
    }
}
