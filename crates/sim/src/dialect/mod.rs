//! The two wire formats. Each dialect reads a request into a [`Call`] and turns the answer into events or one document; the
//! documents are fixtures and the framing is written here, so that nothing is shared with the codecs under test.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::answer::Reply;
use crate::fault::{ErrorAnswer, ErrorKind};
use crate::template::Template;

mod anthropic;
mod call;
mod error;
mod openai;

pub(crate) use call::{Call, Prompt};
pub(crate) use error::{Refusal, catalogue};

/// Whose wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
}

/// What identifies one answer.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Hexadecimal digits that ids are made of.
    pub(crate) digits: String,
    /// Unix time in seconds.
    pub(crate) created: i64,
}

/// A streamed answer, before any fault.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    /// Start-up events; none of them is content.
    pub(crate) opening: Vec<Bytes>,
    /// One content event; its hole takes the piece.
    pub(crate) piece: Template,
    /// After the last piece.
    pub(crate) closing: Vec<Bytes>,
    /// The very last event.
    pub(crate) terminator: Bytes,
    /// Keep-alive while nothing is there to be sent.
    pub(crate) ping: Bytes,
    /// An event whose data is no JSON.
    pub(crate) malformed: Bytes,
}

impl Dialect {
    /// Reads a request body.
    pub(crate) fn read(self, body: &[u8]) -> Result<Call, Refusal> {
        match self {
            Self::OpenAi => openai::read(body),
            Self::Anthropic => anthropic::read(body),
        }
    }

    /// The answer as one document.
    pub(crate) fn document(self, call: &Call, reply: &Reply, identity: &Identity) -> Bytes {
        match self {
            Self::OpenAi => openai::document(call, reply, identity),
            Self::Anthropic => anthropic::document(call, reply, identity),
        }
    }

    /// The answer as events.
    pub(crate) fn events(self, call: &Call, reply: &Reply, identity: &Identity) -> Events {
        match self {
            Self::OpenAi => openai::events(call, reply, identity),
            Self::Anthropic => anthropic::events(call, reply, identity),
        }
    }

    /// Azure's start-up event; no such thing in the other dialect.
    pub(crate) fn prompt_filter(self) -> Option<Bytes> {
        (self == Self::OpenAi).then(openai::prompt_filter)
    }

    /// Status and body of an error.
    pub(crate) fn error(self, error: &ErrorAnswer, refusal: Option<&Refusal>, id: &Identity) -> (StatusCode, Bytes) {
        let kind = error.kind.or(error.status.map(ErrorKind::of_status)).unwrap_or(ErrorKind::Server);
        let (usual, body) = catalogue(self).body(kind, refusal, id);
        (error.status.unwrap_or(usual), body)
    }

    /// An error as an event of a stream.
    pub(crate) fn error_event(self, kind: ErrorKind, id: &Identity) -> Bytes {
        let (_, body) = catalogue(self).body(kind, None, id);
        let before: &[u8] = match self {
            Self::OpenAi => b"data: ",
            Self::Anthropic => b"event: error\ndata: ",
        };
        [before, &body, b"\n\n"].concat().into()
    }

    /// The list of models.
    pub(crate) fn models(self, models: &[String]) -> Bytes {
        match self {
            Self::OpenAi => openai::models(models),
            Self::Anthropic => anthropic::models(models),
        }
    }

    /// One model.
    pub(crate) fn model(self, model: &str) -> Bytes {
        match self {
            Self::OpenAi => openai::model(model),
            Self::Anthropic => anthropic::model(model),
        }
    }

    /// The answer of `count_tokens`.
    pub(crate) fn count_tokens(call: &Call) -> Bytes {
        anthropic::count_tokens(call)
    }

    /// The key that a request carries, from the headers that this provider reads.
    pub(crate) fn key(self, headers: &HeaderMap) -> Option<&str> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
        // `api-key` is Azure's; Anthropic takes a bearer token of its OAuth clients too.
        let own = match self {
            Self::OpenAi => text("api-key"),
            Self::Anthropic => text("x-api-key"),
        };
        own.or(bearer).map(str::trim).filter(|key| !key.is_empty())
    }

    /// Headers that this provider puts on every answer.
    pub(crate) fn decorate(self, headers: &mut HeaderMap, identity: &Identity) {
        let fixed: &[(&'static str, &'static str)] = match self {
            Self::OpenAi => &[
                ("openai-organization", "org-simulated"),
                ("openai-processing-ms", "1"),
                ("openai-version", "2020-10-01"),
                ("x-ratelimit-limit-requests", "10000"),
                ("x-ratelimit-limit-tokens", "2000000"),
                ("x-ratelimit-remaining-requests", "9999"),
                ("x-ratelimit-remaining-tokens", "1999900"),
                ("x-ratelimit-reset-requests", "6ms"),
                ("x-ratelimit-reset-tokens", "0s"),
            ],
            Self::Anthropic => &[
                ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
                ("anthropic-ratelimit-requests-limit", "4000"),
                ("anthropic-ratelimit-requests-remaining", "3999"),
                ("anthropic-ratelimit-tokens-limit", "400000"),
                ("anthropic-ratelimit-tokens-remaining", "400000"),
            ],
        };
        for (name, value) in fixed {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let (name, prefix) = match self {
            Self::OpenAi => ("x-request-id", "req_"),
            Self::Anthropic => ("request-id", "req_"),
        };
        if let Ok(value) = HeaderValue::try_from(format!("{prefix}{}", identity.digits)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Usage figures that fixtures name.
fn usage(call: &Call, reply: &Reply) -> [(&'static str, Value); 3] {
    let (prompt, completion) = (call.prompt.tokens(), u64::from(reply.len()));
    [
        ("prompt_tokens", prompt.into()),
        ("completion_tokens", completion.into()),
        ("total_tokens", (prompt + completion).into()),
    ]
}
