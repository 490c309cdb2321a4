//! The client's body with another model name, and usage asked for in streams.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use meridian_llm::openai::ChatRequestBody;

use crate::UpstreamRequest;

pub(super) fn build(request: &ChatRequestBody, upstream_model: &str) -> UpstreamRequest {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accept = if request.head().stream { "text/event-stream" } else { "application/json" };
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    UpstreamRequest {
        method: Method::POST,
        path_and_query: "/chat/completions".to_owned(),
        headers,
        body: request.rewritten(upstream_model),
        adjusted: Vec::new(),
    }
}
