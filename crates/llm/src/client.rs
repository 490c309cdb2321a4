//! A client's request in whichever dialect it came: the one place that tells them apart.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use crate::anthropic::{self, MessagesRequestBody};
use crate::head::RequestHead;
use crate::openai::{self, ChatRequestBody};
use crate::{ChatRequest, ClientError, Dialect, Endpoint};

/// Headers that belong to Anthropic's dialect as much as the body does: a body may need the betas that they name.
const ANTHROPIC_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("anthropic-version"), HeaderName::from_static("anthropic-beta")];

/// A request that asks a model.
#[derive(Debug, Clone)]
pub struct ClientRequest {
    endpoint: Endpoint,
    body: Body,
    headers: HeaderMap,
}

#[derive(Debug, Clone)]
enum Body {
    OpenAi(ChatRequestBody),
    Anthropic(MessagesRequestBody),
}

impl ClientRequest {
    /// Reads the body of a request to `endpoint`, and of `headers` those that its dialect needs.
    ///
    /// # Errors
    /// A 400 that names the field at fault.
    pub fn parse(endpoint: Endpoint, headers: &HeaderMap, body: Bytes) -> Result<Self, ClientError> {
        let (body, wanted) = match endpoint {
            Endpoint::ChatCompletions => (Body::OpenAi(ChatRequestBody::parse(body)?), &[][..]),
            Endpoint::Messages => (Body::Anthropic(MessagesRequestBody::parse(body)?), &ANTHROPIC_HEADERS[..]),
            Endpoint::CountTokens => {
                let body = MessagesRequestBody::parse(body)?.never_streamed();
                (Body::Anthropic(body), &ANTHROPIC_HEADERS[..])
            }
        };
        let mut kept = HeaderMap::new();
        for name in wanted {
            for value in headers.get_all(name) {
                kept.append(name, value.clone());
            }
        }
        Ok(Self { endpoint, body, headers: kept })
    }

    /// What was called.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The dialect of the body.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.endpoint.dialect()
    }

    /// What was read of the body.
    #[must_use]
    pub const fn head(&self) -> &RequestHead {
        match &self.body {
            Body::OpenAi(body) => body.head(),
            Body::Anthropic(body) => body.head(),
        }
    }

    /// The client's headers that an upstream of the same dialect is to see.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body for an upstream that speaks the same dialect: with its name of the model, and otherwise as it came, but for
    /// what [`ChatRequestBody::rewritten`] and [`MessagesRequestBody::rewritten`] say.
    #[must_use]
    pub fn rewritten(&self, upstream_model: &str) -> Bytes {
        match &self.body {
            Body::OpenAi(body) => body.rewritten(upstream_model),
            Body::Anthropic(body) => body.rewritten(upstream_model),
        }
    }

    /// The request in canonical form, for an upstream that speaks another dialect.
    ///
    /// # Errors
    /// A 400 that names the field at fault.
    pub fn canonical(&self) -> Result<ChatRequest<'_>, ClientError> {
        match &self.body {
            Body::OpenAi(body) => openai::parse_request(body.bytes()),
            Body::Anthropic(body) => anthropic::parse_request(body.bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_headers_of_the_dialect_are_kept_in_their_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-api-key", "secret"),
            ("anthropic-beta", "a,b"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "c"),
            ("anthropic-workspace-id", "w"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let body = Bytes::from_static(br#"{"model":"m"}"#);
        let request = ClientRequest::parse(Endpoint::Messages, &headers, body.clone()).unwrap();
        let betas: Vec<_> = request.headers().get_all("anthropic-beta").iter().collect();
        assert_eq!(betas, ["a,b", "c"]);
        assert_eq!(request.headers().len(), 3);
        let request = ClientRequest::parse(Endpoint::ChatCompletions, &headers, body).unwrap();
        assert!(request.headers().is_empty());
    }

    #[test]
    fn a_count_is_never_streamed() {
        let body = Bytes::from_static(br#"{"model":"m","stream":true}"#);
        for (endpoint, streamed) in [(Endpoint::Messages, true), (Endpoint::CountTokens, false)] {
            let request = ClientRequest::parse(endpoint, &HeaderMap::new(), body.clone()).unwrap();
            assert_eq!(request.head().stream, streamed, "{endpoint:?}");
        }
    }
}
