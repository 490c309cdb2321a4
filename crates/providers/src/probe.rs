//! The least that a model can be asked for: one token.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use meridian_llm::{ClientError, ClientRequest, Endpoint, Failure};
use meridian_types::provider::TokenLimit;

use crate::{CallContext, Provider, UpstreamRequest, name_token_limit};

/// As a client would ask for it. Every codec has this endpoint's requests in its own dialect, so that none needs words for a
/// probe.
const ENDPOINT: Endpoint = Endpoint::ChatCompletions;
const QUESTION: &[u8] = br#"{"model":"probe","max_completion_tokens":1,"messages":[{"role":"user","content":"Hi"}]}"#;

/// Asks `model` for one token, under the name that is `configured` for the limit.
///
/// # Errors
/// When the codec has no way to ask that.
pub fn completion_probe(
    codec: &dyn Provider,
    configured: Option<TokenLimit>,
    model: &str,
) -> Result<UpstreamRequest, ClientError> {
    let question = ClientRequest::parse(ENDPOINT, &HeaderMap::new(), Bytes::from_static(QUESTION))?;
    Ok(name_token_limit(codec, configured, codec.chat_request(&question, model)?))
}

/// Whether what came is an answer to [`completion_probe`].
///
/// # Errors
/// What came in its place: also under a 2xx status.
pub fn completion_came(
    codec: &dyn Provider,
    model: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(), Failure> {
    if !status.is_success() {
        return Err(codec.classify(status, headers, body));
    }
    // Nobody reads the answer, so that its time is of no account.
    let context =
        CallContext { endpoint: ENDPOINT, upstream_model: model.to_owned(), include_usage: false, created: 0 };
    codec.chat_response(&context, body).map(|_| ())
}
