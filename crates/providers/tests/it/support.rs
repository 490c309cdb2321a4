//! Fixtures and a stream runner.

use std::path::PathBuf;

use bytes::Bytes;
use http::HeaderMap;
use meridian_llm::{ClientRequest, Endpoint, Failure, Usage};
use meridian_providers::{CallContext, Provider, find};
use meridian_sse::Framer;

/// 1 January 2027, so that a `created` in an expected file is recognized.
pub(crate) const CREATED: u64 = 1_798_761_600;

pub(crate) fn provider(name: &str) -> &'static dyn Provider {
    find(name).unwrap()
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name].iter().collect()
}

/// A fixture file. In `.sse` files a first comment line names the source; it is not part of the stream.
pub(crate) fn fixture(name: &str) -> String {
    let text = std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    match text.split_once("\n\n") {
        Some((head, rest)) if head.starts_with(": source") => rest.to_owned(),
        _ => text,
    }
}

/// Compares with a golden file; `MERIDIAN_BLESS=1` writes it instead, to be read before it is committed.
#[track_caller]
pub(crate) fn golden(name: &str, actual: &str) {
    if std::env::var_os("MERIDIAN_BLESS").is_some() {
        std::fs::write(path(name), actual).unwrap();
        return;
    }
    assert_eq!(actual, fixture(name), "{name}");
}

pub(crate) fn context(include_usage: bool) -> CallContext {
    context_of(Endpoint::ChatCompletions, include_usage)
}

pub(crate) fn context_of(endpoint: Endpoint, include_usage: bool) -> CallContext {
    CallContext { endpoint, upstream_model: "upstream-model".into(), include_usage, created: CREATED }
}

pub(crate) fn request(body: &str) -> ClientRequest {
    request_to(Endpoint::ChatCompletions, body)
}

pub(crate) fn request_to(endpoint: Endpoint, body: &str) -> ClientRequest {
    ClientRequest::parse(endpoint, &HeaderMap::new(), Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

/// What a client saw of a stream, and how it ended.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) content: bool,
    pub(crate) finished: bool,
    pub(crate) done: bool,
    pub(crate) usage: Option<Usage>,
    pub(crate) failure: Option<Failure>,
}

/// Runs a stream that arrives in `chunks` and then ends cleanly.
pub(crate) fn run<'a>(name: &str, context: CallContext, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut translator = provider(name).stream(context);
    let mut framer = Framer::default();
    let mut outcome = Outcome::default();
    let mut steps = Vec::new();
    'stream: {
        for chunk in chunks {
            framer.feed(Bytes::copy_from_slice(chunk));
            while let Some(event) = framer.next_event().unwrap() {
                match translator.event(event) {
                    Ok(step) => steps.push(step),
                    Err(failure) => {
                        outcome.failure = Some(failure);
                        break 'stream;
                    }
                }
                if steps.last().is_some_and(|step| step.done) {
                    break 'stream;
                }
            }
        }
        match translator.end() {
            Ok(step) => steps.push(step),
            Err(failure) => outcome.failure = Some(failure),
        }
    }
    for step in steps {
        outcome.text.push_str(std::str::from_utf8(&step.bytes).unwrap());
        outcome.content |= step.content;
        outcome.finished = step.finished;
        outcome.done = step.done;
        outcome.usage = step.usage.or(outcome.usage);
    }
    outcome
}

/// The whole stream in one piece.
pub(crate) fn run_whole(name: &str, include_usage: bool, stream: &str) -> Outcome {
    run(name, context(include_usage), [stream.as_bytes()])
}

/// The whole stream in one piece, for a client that called `/v1/messages`.
pub(crate) fn run_messages(name: &str, stream: &str) -> Outcome {
    run(name, context_of(Endpoint::Messages, true), [stream.as_bytes()])
}
