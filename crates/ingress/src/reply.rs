//! Answers, and errors as answers.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use meridian_llm::{ClientError, ErrorReply};
use meridian_types::ErrorCode;

/// An answer's body. An error in it breaks the connection off: only for a process that is forced to stop.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer.
pub type Reply = Response<Body>;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// What the client is told about trying again. The OpenAI and Anthropic SDKs obey `x-should-retry` before anything
/// else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// Nothing: the status says enough.
    #[default]
    Unsaid,
    /// The same request would fail again.
    Never,
    /// It may succeed after this time.
    After(Duration),
}

/// A request that is not served.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Code, text and field.
    pub error: ClientError,
    /// When to try again.
    pub retry: Retry,
    /// An upstream's answer about the request, which goes back in place of our own.
    pub reply: Option<ErrorReply>,
}

impl Refused {
    /// A refusal of which nothing is said about trying again.
    pub fn new(code: ErrorCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        ClientError::new(code, message).into()
    }

    /// The same, with a word about trying again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// As an answer with an OpenAI error body.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        let Self { error, retry, reply } = self;
        let (status, body) = match reply {
            Some(reply) => (StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_REQUEST), reply.body),
            None => (error.status(), error.openai_body()),
        };
        let mut reply = json(status, body);
        retry.write(reply.headers_mut());
        reply
    }
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        Self { error, retry: Retry::Unsaid, reply: None }
    }
}

impl Retry {
    fn write(self, headers: &mut HeaderMap) {
        match self {
            Self::Unsaid => {}
            Self::Never => drop(headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"))),
            Self::After(wait) => {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("true"));
                // Whole seconds, rounded up: some clients read no fractions (RFC 9110, section 10.2.3).
                headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000) as u64));
                headers.insert(RETRY_AFTER_MS, HeaderValue::from(wait.as_millis() as u64));
            }
        }
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Reply {
    with_type(status, "application/json", body)
}

/// A short answer of a known type that is not to be stored.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(whole(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(retry: Retry, expected: [Option<&str>; 3]) {
        let reply = Refused::new(ErrorCode::Overloaded, "full").retry(retry).into_reply();
        assert_eq!(reply.status(), 503);
        let got = ["x-should-retry", "retry-after", "retry-after-ms"];
        assert_eq!(got.map(|name| reply.headers().get(name).map(|v| v.to_str().unwrap())), expected);
    }

    #[test]
    fn the_truth_about_retries_stands_in_the_headers() {
        check(Retry::Unsaid, [None, None, None]);
        check(Retry::Never, [Some("false"), None, None]);
        check(Retry::After(Duration::from_millis(1200)), [Some("true"), Some("2"), Some("1200")]);
    }
}
