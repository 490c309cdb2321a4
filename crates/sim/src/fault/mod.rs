//! What can go wrong on purpose: one variant a fault. The text form of each is listed in the crate documentation.

use std::time::Duration;

mod names;
mod plan;
mod rules;
mod spec;

pub(crate) use plan::{Broken, Incident, NoAnswer, Plan, What};
pub(crate) use rules::Subject;
pub use rules::{HeaderMatch, Match, Rule, RuleError, Rules, Status};
pub use spec::{SpecError, parse_specs};

/// One fault. `after` counts tokens that were sent before it strikes; for an answer that is not streamed it strikes when half
/// of the body is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing, not even the response headers, for this long.
    Latency(Latency),
    /// Response headers and start-up events at once, the first token only after `delay`.
    FirstToken {
        /// From the headers to the first token.
        delay: Duration,
        /// Meanwhile a keep-alive this often: an SSE comment (OpenAI) or a `ping` event (Anthropic).
        ping_every: Option<Duration>,
    },
    /// Another pause between tokens.
    Gap {
        /// How long.
        pause: Duration,
        /// Meanwhile a keep-alive this often, as before the first token.
        ping_every: Option<Duration>,
    },
    /// An error answer in the provider's shape.
    Error(ErrorAnswer),
    /// Connection reset: at accept for a rule that names at most a client, else when the request head was read.
    Refuse,
    /// The request is read and never answered.
    Hang,
    /// The request is read and the connection closed without a byte.
    Empty,
    /// Bytes that are no HTTP, then close.
    Garbage,
    /// Silence after some tokens.
    Stall {
        /// Tokens before it.
        after: u32,
        /// How long; `None` is for ever.
        pause: Option<Duration>,
    },
    /// The connection dies after some tokens.
    Cut {
        /// Tokens before it.
        after: u32,
        /// With a reset (RST) and not a close (FIN).
        reset: bool,
    },
    /// The stream ends cleanly, but early: no finish reason, no terminator.
    End {
        /// Tokens before it.
        after: u32,
    },
    /// Status 200 and a body that is no JSON, streamed or not.
    BadJson,
    /// One event whose data is no JSON; the stream goes on after it.
    BadSse {
        /// Tokens before it.
        after: u32,
    },
    /// The last event (`[DONE]` or `message_stop`) is missing.
    NoDone,
    /// `[DONE]` or `message_stop` after some tokens, without a finish reason before it; streams only.
    NoFinish {
        /// Tokens before it.
        after: u32,
    },
    /// The connection closes inside a JSON document: half of the body, or half of an event after some tokens.
    Truncate {
        /// Tokens before it.
        after: u32,
    },
    /// `content-length` differs from the body by this many bytes. A streamed answer is sent in one piece for it.
    WrongLength {
        /// Bytes added to the true length.
        delta: i64,
    },
    /// An error inside HTTP 200: an error event, or an error document where the answer is not streamed.
    ErrorEvent {
        /// Tokens before it; 0 is before any content.
        after: u32,
        /// Which error.
        kind: ErrorKind,
    },
    /// The body trickles.
    Drip {
        /// Bytes a second, at least 1.
        bytes_per_s: u32,
    },
    /// One token is an emoji, cut in two.
    Emoji {
        /// Index of the token that it replaces.
        after: u32,
        /// Two events with a lone surrogate escape each, and not one event whose UTF-8 is cut between two writes.
        surrogates: bool,
    },
    /// Azure's start-up event (filter results, no choices) before the first; OpenAI streams only, no effect elsewhere.
    PromptFilter,
    /// 400 when the conversation ends with an assistant message.
    RejectPrefill,
    /// The model refuses: finish reason `content_filter` (OpenAI) or `refusal` (Anthropic) after some tokens.
    Refusal {
        /// Tokens before it.
        after: u32,
    },
}

/// How long an answer is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Latency {
    /// The same for each request.
    Fixed(Duration),
    /// Linear over time since the rule was set, then constant. Only rules have a start, so only they can ramp.
    Ramp {
        /// At the start.
        from: Duration,
        /// At the end.
        to: Duration,
        /// Length of the ramp.
        over: Duration,
    },
}

/// An error answer. What is not given follows from the rest and from the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// HTTP status; by default the one that the provider documents for `kind`.
    pub status: Option<http::StatusCode>,
    /// Type of the body; by default the usual one for `status`.
    pub kind: Option<ErrorKind>,
    /// `retry-after` in seconds.
    pub retry_after_s: Option<u32>,
    /// `retry-after-ms` in milliseconds.
    pub retry_after_ms: Option<u32>,
}

/// What a provider's error body says, whichever the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The request makes no sense.
    InvalidRequest,
    /// More tokens than the model takes.
    ContextLength,
    /// The prompt was filtered.
    ContentFilter,
    /// The model takes no assistant prefill.
    PrefillRejected,
    /// Unknown or missing API key.
    InvalidKey,
    /// The key may not do this.
    Permission,
    /// No such model.
    NotFound,
    /// The body is too large.
    TooLarge,
    /// Too many requests.
    RateLimit,
    /// No money left.
    Quota,
    /// The provider failed.
    Server,
    /// The provider is overloaded.
    Overloaded,
    /// The provider gave up waiting.
    Timeout,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::InvalidRequest,
        Self::ContextLength,
        Self::ContentFilter,
        Self::PrefillRejected,
        Self::InvalidKey,
        Self::Permission,
        Self::NotFound,
        Self::TooLarge,
        Self::RateLimit,
        Self::Quota,
        Self::Server,
        Self::Overloaded,
        Self::Timeout,
    ];

    /// The name in fault specs and in `errors.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::ContextLength => "context_length",
            Self::ContentFilter => "content_filter",
            Self::PrefillRejected => "prefill_rejected",
            Self::InvalidKey => "invalid_key",
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::RateLimit => "rate_limit",
            Self::Quota => "quota",
            Self::Server => "server",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
        }
    }

    /// The usual kind for a status.
    pub(crate) fn of_status(status: http::StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::InvalidKey,
            403 => Self::Permission,
            404 => Self::NotFound,
            413 => Self::TooLarge,
            429 => Self::RateLimit,
            503 | 529 => Self::Overloaded,
            408 | 504 => Self::Timeout,
            500..=599 => Self::Server,
            _ => Self::InvalidRequest,
        }
    }
}
