//! What goes between the request path and a provider.

use bytes::Bytes;
use http::{HeaderMap, Method};
use meridian_llm::{Endpoint, Usage};

/// A request to an upstream, without its credential.
#[derive(Clone)]
pub struct UpstreamRequest {
    /// The method.
    pub method: Method,
    /// Path (and query) to append to the provider's base URL, beginning with `/`: `/chat/completions`.
    pub path_and_query: String,
    /// Headers of the dialect. `host`, `content-length`, credential and trace headers are the sender's business.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Names of the client's parameters that this upstream cannot honour exactly and that were dropped or clamped;
    /// each a plain identifier, fit for a response header.
    pub adjusted: Vec<String>,
}

impl UpstreamRequest {
    /// A `GET` without headers or body.
    #[must_use]
    pub fn get(path_and_query: &str) -> Self {
        Self {
            method: Method::GET,
            path_and_query: path_and_query.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            adjusted: Vec::new(),
        }
    }
}

/// The body is a prompt.
impl std::fmt::Debug for UpstreamRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamRequest")
            .field("method", &self.method)
            .field("path_and_query", &self.path_and_query)
            .field("body_bytes", &self.body.len())
            .field("adjusted", &self.adjusted)
            .finish_non_exhaustive()
    }
}

/// What an answer's translation needs to know of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallContext {
    /// What the client called: in its dialect answers are given.
    pub endpoint: Endpoint,
    /// The model name sent upstream.
    pub upstream_model: String,
    /// Whether the client asked for the usage chunk.
    pub include_usage: bool,
    /// Unix time in seconds, for dialects that give no time of their own.
    pub created: u64,
}

/// A whole answer for the client.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientAnswer {
    /// JSON in the client's dialect.
    pub body: Bytes,
    /// Tokens used, if the upstream said.
    pub usage: Option<Usage>,
}

/// The body is a completion.
impl std::fmt::Debug for ClientAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientAnswer").field("bytes", &self.body.len()).field("usage", &self.usage).finish()
    }
}

/// What one upstream event means for the client's stream.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Server-sent events for the client, whole ones, to be flushed at once. May be empty.
    pub bytes: Bytes,
    /// Something the model wrote is in `bytes`: once sent, no other target can take over silently.
    pub content: bool,
    /// Generation has ended: what may follow is usage and the end mark only.
    pub finished: bool,
    /// The client's stream is complete with `bytes`, end mark included: stop reading upstream.
    pub done: bool,
    /// Cumulative tokens, where this event says so; the last one counts.
    pub usage: Option<Usage>,
}

/// The bytes are a completion.
impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step")
            .field("bytes", &self.bytes.len())
            .field("content", &self.content)
            .field("finished", &self.finished)
            .field("done", &self.done)
            .field("usage", &self.usage)
            .finish()
    }
}
