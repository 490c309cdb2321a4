//! Streams an answer out: every event as it comes, and at the end the truth.

use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use meridian_ingress::{Audience, Body};
use meridian_llm::{ClientError, Failure, Splice};
use meridian_providers::Step;
use meridian_types::ErrorCode;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::attempt::{Answer, Part};
use crate::attempts::Served;
use crate::continuation::Continuation;
use crate::ledger::{End, Ledger};
use crate::source::Source;
use crate::tally::Tally;
use crate::ticket::Ticket;

/// Events that go out together if they came together: a provider that was held up sends many at once, and a frame for each
/// would be several writes.
const MAX_TOGETHER: usize = 32;

/// A stream on its way to the client. Dropping it means that the client is gone: the upstream's body is dropped with
/// it, which cancels the call there.
pub(crate) struct Relay {
    held: Bytes,
    source: Option<Box<Source>>,
    ticket: Option<Ticket>,
    /// Of the present target's part.
    tally: Option<Tally>,
    /// Set where a stream that dies is to go on at another target.
    continuation: Option<Box<Continuation>>,
    /// Set once it has gone on.
    splice: Option<Splice>,
    /// Came behind events that go out first.
    failure: Option<Failure>,
    ledger: Ledger,
    to: Audience,
}

impl Relay {
    pub(crate) fn new(
        held: Bytes,
        source: Option<Box<Source>>,
        ticket: Ticket,
        tally: Tally,
        continuation: Option<Box<Continuation>>,
        ledger: Ledger,
        to: Audience,
    ) -> Self {
        let (ticket, tally) = (Some(ticket), Some(tally));
        let mut relay = Self { held, source, ticket, tally, continuation, splice: None, failure: None, ledger, to };
        if let Some(continuation) = &mut relay.continuation {
            continuation.sent(&relay.held);
        }
        relay
    }

    /// As a body. What is there goes out at once: no event waits for company.
    pub(crate) fn into_body(self) -> Body {
        // Asked for once, and not anew with each event.
        let leaving = Box::pin(self.ledger.node().leaving.clone().cancelled_owned());
        let events = stream::unfold((Box::new(self), leaving), |(mut relay, mut leaving)| async move {
            let bytes = relay.next(leaving.as_mut()).await?;
            Some((Ok::<_, io::Error>(Frame::data(bytes)), (relay, leaving)))
        });
        StreamBody::new(events).boxed_unsync()
    }

    /// The next events for the client; `None` after the last. `leaving`: the node's grace is over.
    async fn next(&mut self, mut leaving: Pin<&mut WaitForCancellationFutureOwned>) -> Option<Bytes> {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            if self.source.is_none() {
                self.complete();
            }
            return Some(self.with_company(held));
        }
        while self.source.is_some() {
            let bytes = tokio::select! {
                biased;
                () = leaving.as_mut() => return Some(self.leave()),
                bytes = self.advance() => bytes,
            };
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
        self.complete();
        None
    }

    /// What the next events of the upstream bring the client; perhaps nothing.
    async fn advance(&mut self) -> Bytes {
        let outcome = match (self.failure.take(), self.source.as_mut()) {
            (Some(failure), _) => Err(failure),
            (None, None) => return Bytes::new(),
            (None, Some(source)) => source.next_after_content().await,
        };
        let early = || Failure::truncated("the stream ended before its answer did");
        match outcome.and_then(|step| self.take(step.ok_or_else(early)?)) {
            Ok(bytes) => self.with_company(bytes),
            // Large, and seldom run: off the stack of every stream.
            Err(failure) => Box::pin(self.go_on(failure)).await,
        }
    }

    /// The first event, and what came together with it.
    fn with_company(&mut self, first: Bytes) -> Bytes {
        let mut all = BytesMut::new();
        for _ in 1..MAX_TOGETHER {
            let Some(step) = self.source.as_mut().and_then(|source| source.next_at_hand()) else { break };
            match step.and_then(|step| self.take(step)) {
                Ok(bytes) => {
                    if all.is_empty() {
                        all.extend_from_slice(&first);
                    }
                    all.extend_from_slice(&bytes);
                }
                Err(failure) => {
                    self.failure = Some(failure);
                    break;
                }
            }
        }
        if all.is_empty() { first } else { all.freeze() }
    }

    /// One event of the present target, for the client.
    fn take(&mut self, step: Step) -> Result<Bytes, Failure> {
        if let Some(tally) = &mut self.tally {
            tally.tokens.add(&step);
        }
        let bytes = self.fit(step.bytes)?;
        if step.done {
            self.complete();
        } else {
            self.goes_on(false);
        }
        Ok(bytes)
    }

    /// Tells a target that is on trial that its stream does.
    fn goes_on(&mut self, is_whole: bool) {
        let Some(ticket) = self.ticket.as_mut().filter(|ticket| ticket.is_on_trial()) else { return };
        let node = self.ledger.node();
        let changes = ticket.goes_on(is_whole, node.host.entropy.unit());
        node.metrics.changed(&ticket.target().id, changes);
    }

    /// Events of the present target as the client is to get them.
    fn fit(&mut self, bytes: Bytes) -> Result<Bytes, Failure> {
        let bytes = match &mut self.splice {
            Some(splice) => splice
                .rewrite(&bytes)
                .map_err(|_| Failure::malformed("a stream event does not fit into the stream that it continues"))?,
            None => bytes,
        };
        if let Some(continuation) = &mut self.continuation {
            continuation.sent(&bytes);
        }
        Ok(bytes)
    }

    /// The stream has died: another target goes on with it, or the client is told.
    async fn go_on(&mut self, mut failure: Failure) -> Bytes {
        loop {
            self.source = None;
            let Some(target) = self.lose(&failure) else { return self.fail(&failure) };
            let Some(continuation) = self.continuation.as_mut() else { return self.fail(&failure) };
            let Some((served, splice)) = continuation.resume(&target, &failure).await else {
                return self.fail(&failure);
            };
            let Served { answer: Answer { body, tokens }, ticket, model, .. } = served;
            let Part::Stream(held, source) = body else { return self.fail(&failure) };
            self.splice = Some(splice);
            self.tally = Some(Tally::open(self.ledger.node(), model, ticket.target().id.clone(), tokens));
            self.ticket = Some(ticket);
            match self.fit(held) {
                Ok(bytes) => {
                    self.source = source;
                    if self.source.is_none() {
                        self.complete();
                    }
                    return bytes;
                }
                Err(next) => failure = next,
            }
        }
    }

    fn complete(&mut self) {
        if let Some(source) = self.source.take() {
            source.finish();
        }
        self.goes_on(true);
        self.ticket = None;
        self.tally = None;
        self.ledger.end(End::Answered);
    }

    /// The present target has failed; gives its name.
    fn lose(&mut self, failure: &Failure) -> Option<meridian_routing::TargetId> {
        self.tally = None;
        let mut ticket = self.ticket.take()?;
        let node = self.ledger.node();
        let changes = ticket.failed(failure, false, node.host.entropy.unit());
        let id = &ticket.target().id;
        node.metrics.attempted(id, "interrupted");
        self.ledger.journal().interrupted(id, failure);
        tracing::debug!(parent: self.ledger.span(), target = %id, class = failure.class.as_str(), "stream interrupted: {}", failure.message);
        node.metrics.changed(id, changes);
        Some(id.clone())
    }

    /// Ends with an error event in the client's dialect and without its end mark: a stream that just ends passes for a whole
    /// answer. What the client is told is why the stream died, and not what others said who could not go on with it.
    fn fail(&mut self, failure: &Failure) -> Bytes {
        self.ledger.end(End::Failed(failure.client_code, Some(failure.class)));
        self.to.event(&failure.client_error())
    }

    fn leave(&mut self) -> Bytes {
        self.source = None;
        self.ticket = None;
        self.tally = None;
        self.ledger.end(End::Failed(ErrorCode::Draining, None));
        self.to.event(&ClientError::new(ErrorCode::Draining, "the node stops; the answer is incomplete"))
    }
}
