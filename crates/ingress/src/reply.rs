//! Answers, and errors as answers.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use meridian_llm::{ClientError, Dialect, ErrorReply};
use meridian_types::ErrorCode;

use crate::RequestId;

/// An answer's body. An error in it breaks the connection off: only for a process that is forced to stop.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer.
pub type Reply = Response<Body>;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// To whom errors are told: their shape follows what the client called, whatever the upstream spoke.
#[derive(Debug, Clone)]
pub struct Audience {
    /// The client's dialect.
    pub dialect: Dialect,
    /// The request, which Anthropic's shape names.
    pub id: RequestId,
}

impl Audience {
    /// `error` as the last event of a stream.
    #[must_use]
    pub fn event(&self, error: &ClientError) -> Bytes {
        error.event(self.dialect, self.id.as_str())
    }
}

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

    /// As an answer to that client.
    #[must_use]
    pub fn into_reply(self, to: &Audience) -> Reply {
        let Self { error, retry, reply } = self;
        let (status, body) = match reply {
            Some(reply) => {
                let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_REQUEST);
                (status, reply.body_in(to.dialect, &error, to.id.as_str()))
            }
            None => (error.status_in(to.dialect), error.body(to.dialect, to.id.as_str())),
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

    fn audience(dialect: Dialect) -> Audience {
        Audience { dialect, id: RequestId::of(&HeaderMap::new(), "eu-west", "n1", &meridian_host::OsEntropy) }
    }

    #[track_caller]
    fn check(retry: Retry, expected: [Option<&str>; 3]) {
        for (dialect, status) in [(Dialect::OpenAi, 503), (Dialect::Anthropic, 529)] {
            let reply = Refused::new(ErrorCode::Overloaded, "full").retry(retry).into_reply(&audience(dialect));
            assert_eq!(reply.status(), status);
            let got = ["x-should-retry", "retry-after", "retry-after-ms"];
            assert_eq!(got.map(|name| reply.headers().get(name).map(|v| v.to_str().unwrap())), expected);
        }
    }

    #[test]
    fn the_truth_about_retries_stands_in_the_headers() {
        check(Retry::Unsaid, [None, None, None]);
        check(Retry::Never, [Some("false"), None, None]);
        check(Retry::After(Duration::from_millis(1200)), [Some("true"), Some("2"), Some("1200")]);
    }
}
