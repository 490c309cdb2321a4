//! Answers for clients that speak the same dialect: forwarded as they came, once each is known to be sound.

use bytes::Bytes;
use meridian_llm::anthropic::{Counts, EventFacts, EventKind, inspect_answer, inspect_event, message_stop};
use meridian_llm::{Endpoint, Failure};
use meridian_sse::Event;

use super::error;
use crate::{ClientAnswer, Step, StreamTranslator};

/// A whole answer.
pub(super) fn answer(endpoint: Endpoint, body: &Bytes) -> Result<ClientAnswer, Failure> {
    let facts = inspect_answer(body).map_err(|_| Failure::malformed("the answer is not a JSON object"))?;
    if facts.error {
        return Err(error::in_band(body).unwrap_or(Failure::malformed("the upstream sent an unknown error")));
    }
    if endpoint == Endpoint::CountTokens {
        let counted = facts.input_tokens.ok_or(Failure::malformed("the answer has no input_tokens"));
        return counted.map(|_| ClientAnswer { body: body.clone(), usage: None });
    }
    if !facts.finished {
        return Err(Failure::malformed("the answer has no stop_reason"));
    }
    Ok(ClientAnswer { body: body.clone(), usage: facts.counts.map(|counts| counts.usage()) })
}

/// The state of one stream.
#[derive(Default)]
pub(super) struct Forwarder {
    started: bool,
    finished: bool,
    counts: Counts,
}

impl StreamTranslator for Forwarder {
    fn event(&mut self, event: Event) -> Result<Step, Failure> {
        // Comments are the upstream's keep-alive and reach the client as such.
        let Some(data) = event.data() else {
            return Ok(self.forward(event, None));
        };
        let facts = inspect_event(data).map_err(|_| Failure::malformed("a stream event is not a typed JSON object"))?;
        match facts.kind {
            EventKind::Error => {
                Err(error::in_band(data).unwrap_or(Failure::malformed("the upstream sent an unknown error")))
            }
            EventKind::MessageStart if self.started => Err(Failure::malformed("a second message began in one stream")),
            EventKind::MessageStart => {
                self.started = true;
                Ok(self.forward(event, Some(facts)))
            }
            // `ping`, and kinds that are not known yet.
            EventKind::Other => Ok(self.forward(event, None)),
            _ if !self.started => Err(Failure::malformed("the stream does not begin with message_start")),
            EventKind::MessageStop if !self.finished => {
                Err(Failure::truncated("the stream ended before the answer was complete"))
            }
            EventKind::MessageStop => Ok(Step { done: true, ..self.forward(event, None) }),
            EventKind::BlockStart | EventKind::BlockDelta | EventKind::BlockStop | EventKind::MessageDelta => {
                Ok(self.forward(event, Some(facts)))
            }
        }
    }

    fn end(&mut self) -> Result<Step, Failure> {
        if !self.finished {
            return Err(Failure::truncated("the stream ended before the answer was complete"));
        }
        // With the stop reason in hand only `message_stop` was lost.
        Ok(Step { bytes: message_stop(), finished: true, done: true, ..Step::default() })
    }
}

impl Forwarder {
    fn forward(&mut self, event: Event, facts: Option<EventFacts>) -> Step {
        self.finished |= facts.is_some_and(|facts| facts.finished);
        let counts = facts.and_then(|facts| facts.counts);
        let usage = counts.map(|newer| {
            self.counts.update(newer);
            self.counts.usage()
        });
        Step {
            bytes: event.into_raw(),
            content: facts.is_some_and(|facts| facts.content),
            finished: self.finished,
            done: false,
            usage,
        }
    }
}
