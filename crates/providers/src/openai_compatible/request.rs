//! The client's body with another model name, and usage asked for in streams; or one made of a Messages request.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use meridian_llm::{ClientError, ClientRequest, Endpoint};

use super::translate;
use crate::UpstreamRequest;

pub(super) fn build(request: &ClientRequest, upstream_model: &str) -> Result<UpstreamRequest, ClientError> {
    let (body, adjusted) = match request.endpoint() {
        Endpoint::ChatCompletions => (request.rewritten(upstream_model), Vec::new()),
        Endpoint::Messages => translate::request(request, upstream_model)?,
        // There is no such path here, and a guess would pass for a count.
        Endpoint::CountTokens => {
            return Err(ClientError::unsupported("model", "no provider of this model can count tokens"));
        }
    };
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accept = if request.head().stream { "text/event-stream" } else { "application/json" };
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    Ok(UpstreamRequest {
        method: Method::POST,
        path_and_query: "/chat/completions".to_owned(),
        headers,
        body,
        adjusted,
    })
}
