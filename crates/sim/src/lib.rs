//! Provider simulator: OpenAI and Anthropic wire formats with realistic pacing, deterministic text and faults on demand.
//!
//! It is there to test the gateway, so it shares no codec with it: documents are fixtures transcribed from the providers'
//! references (`fixtures/`, sources named there), framing is its own. HTTP/1.1 without TLS.
//!
//! # What it serves
//! | path | what |
//! |---|---|
//! | `POST /v1/chat/completions` | OpenAI chat, streamed or not, `stream_options.include_usage`, tools, `response_format` |
//! | `POST /v1/messages`, `/v1/messages/count_tokens` | Anthropic messages, streamed or not, tools |
//! | `GET /v1/models`, `/v1/models/{id}` | in Anthropic's shape if the request has `anthropic-version`, else in OpenAI's |
//! | `GET`, `PUT`, `DELETE /sim/faults` | the standing faults; `PUT` replaces them: `{"rules": [RULE, ...]}` |
//! | `PUT`, `DELETE /sim/faults/{name}` | one of them |
//! | `GET /sim/requests?since=ID`, `DELETE` | the latest requests ([`Seen`]): `{"requests": [...]}` |
//! | `GET /sim/stats` | counters ([`Stats`]) |
//!
//! A key must be there (`Authorization: Bearer`, `api-key`, `x-api-key`); any will do unless [`Options::keys`] says which.
//! Requests that the provider would refuse are refused in its words: unknown roles, orphaned tool results, no `max_tokens`.
//! OpenAI's `n` must be 1. `/sim/` asks for no key: never serve it on a public address.
//!
//! # What it answers
//! [`expected_text`]: "Simulated reply from MODEL:", the words of the last user message, then "wordN". The length in tokens
//! is [`Options::tokens`], or `x-sim-tokens`, or `tokens=N` in the last user message; `max_tokens` caps it (finish reason
//! `length`). If the conversation ends with an assistant message of k words, the answer goes on at token k, so that a
//! continued stream can be checked against the whole. A tool is called when `tool_choice` forces it, or when the last user
//! message says `call NAME`; its arguments satisfy its schema, as does a structured answer.
//!
//! # Faults
//! A spec is `name;key=value;...`, up to eight joined by `,`. It comes in the header `x-sim-fault`, in a model name after
//! `sim-fault-` (`gpt-4o-sim-fault-cut;after=40`), or in a rule. All that apply are merged; about one aspect the header beats
//! the model name, and that the rules, of which the last wins. A spec that is not understood is a 501 that says why. `after`
//! counts tokens and is 0 if left out; a document (not streamed) is struck at half its length.
//!
//! | spec | effect |
//! |---|---|
//! | `latency;ms=500` | nothing, not even headers, for this long |
//! | `latency;from_ms=0;to_ms=2000;over_ms=10000` | the same, growing since the rule was set (rules only) |
//! | `first_token;ms=20000[;ping_ms=1000]` | headers and start-up events at once, content late; meanwhile comments or `ping`s |
//! | `gap;ms=200[;ping_ms=100]` | pause between tokens; meanwhile comments or `ping`s |
//! | `error;status=429[;kind=quota][;retry_after=2][;retry_after_ms=1500]` | error answer; `status` or `kind` may be left out |
//! | `refuse` | connection reset: at accept (a rule about clients or about nothing), else before any answer |
//! | `empty`, `garbage` | closed without a byte; bytes that are no HTTP |
//! | `hang` | read, never answered |
//! | `stall;after=3[;ms=30000]` | silence, for ever unless `ms` |
//! | `cut;after=40[;how=close\|reset]` | connection closed, or reset, between two events |
//! | `truncate;after=40` | connection closed inside an event |
//! | `end;after=40` | clean end without finish reason and terminator (document: half of it, with that length) |
//! | `bad_json` | 200 with half a document, streamed or not |
//! | `bad_sse;after=10` | one event that is no JSON, then on (document: as `bad_json`) |
//! | `no_done` | `[DONE]` or `message_stop` missing (streams only) |
//! | `no_finish;after=40` | `[DONE]` or `message_stop` early, without finish reason (streams only) |
//! | `wrong_length;delta=-10` | `content-length` off by this; the connection closes after the body |
//! | `error_event;after=0[;kind=overloaded]` | an error inside 200, then a clean end (document: the error document) |
//! | `drip;bytes_per_s=1` | the body trickles |
//! | `emoji;after=2[;how=bytes\|surrogates]` | that token is an emoji cut between two writes, or two lone surrogates |
//! | `prompt_filter` | Azure's start-up event first (OpenAI streams only) |
//! | `reject_prefill` | 400 if the last message is the assistant's |
//! | `refusal;after=0` | the model stops with `content_filter` or `refusal` |
//!
//! Kinds: `invalid_request`, `context_length`, `content_filter`, `prefill_rejected`, `invalid_key`, `permission`, `not_found`,
//! `too_large`, `rate_limit`, `quota`, `server`, `overloaded`, `timeout`.
//!
//! A rule: `{"name": "slow-eu", "match": {"client": "127.0.1.2", "model": "gpt-*", "path": "/v1/*", "header": {"name": "x",
//! "value": "y*"}}, "fault": "latency;ms=500", "count": 3, "probability": 0.5}`. All of `match` must hold; `client` may be a
//! network; without `count` the rule strikes until it is cleared. `applied` in `GET` says how often it has struck.
//!
//! # Bounds
//! Connections, request bodies (32 MiB), the log, counters' keys, rules, waits (one hour) and answers all have limits. A
//! stream costs one connection task, one timer and one frame at a time. HTTP/2 is not spoken: most faults live below it.

mod admin;
mod answer;
mod connection;
mod dialect;
mod exchange;
mod fault;
mod link;
mod options;
mod playback;
mod record;
mod server;
mod strikes;
mod template;

pub use answer::expected_text;
pub use fault::{
    ErrorAnswer, ErrorKind, Fault, HeaderMatch, Latency, Match, Rule, RuleError, Rules, SpecError, Status, parse_specs,
};
pub use options::Options;
pub use record::{Connections, Counts, Outcome, Seen, Stats};
pub use server::Simulator;
