//! Streams an answer out: every event as it comes, and at the end the truth.

use std::io;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use meridian_ingress::{Audience, Body};
use meridian_llm::{ClientError, Failure};
use meridian_types::ErrorCode;

use crate::ledger::{End, Ledger};
use crate::source::Source;
use crate::ticket::Ticket;

/// A stream on its way to the client. Dropping it means that the client is gone: the upstream's body is dropped with
/// it, which cancels the call there.
pub(crate) struct Relay {
    held: Bytes,
    source: Option<Box<Source>>,
    ticket: Option<Ticket>,
    ledger: Ledger,
    to: Audience,
}

impl Relay {
    pub(crate) fn new(held: Bytes, source: Option<Box<Source>>, ticket: Ticket, ledger: Ledger, to: Audience) -> Self {
        Self { held, source, ticket: Some(ticket), ledger, to }
    }

    /// As a body. Each event is a frame of its own, so that nothing waits for company.
    pub(crate) fn into_body(self) -> Body {
        let frames = stream::unfold(Box::new(self), |mut relay| async move {
            let bytes = relay.next().await?;
            Some((Ok::<_, io::Error>(Frame::data(bytes)), relay))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// The next events for the client; `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            if self.source.is_none() {
                self.complete();
            }
            return Some(held);
        }
        loop {
            let leaving = self.ledger.node().leaving.clone();
            let Some(source) = self.source.as_mut() else {
                self.complete();
                return None;
            };
            let step = tokio::select! {
                biased;
                () = leaving.cancelled() => return Some(self.leave()),
                step = source.next_after_content() => step,
            };
            match step {
                Ok(Some(step)) => {
                    if step.done {
                        self.complete();
                    }
                    if !step.bytes.is_empty() {
                        return Some(step.bytes);
                    }
                }
                Ok(None) => return Some(self.fail(&Failure::truncated("the stream ended before its answer did"))),
                Err(failure) => return Some(self.fail(&failure)),
            }
        }
    }

    fn complete(&mut self) {
        if let Some(source) = self.source.take() {
            source.finish();
        }
        self.ticket = None;
        self.ledger.end(End::Answered);
    }

    /// Ends with an error event in the client's dialect and without its end mark: a stream that just ends passes for a whole
    /// answer.
    fn fail(&mut self, failure: &Failure) -> Bytes {
        self.source = None;
        if let Some(mut ticket) = self.ticket.take() {
            let node = self.ledger.node();
            let changes = ticket.failed(failure, false, node.host.entropy.unit());
            let id = &ticket.target().id;
            node.metrics.attempted(id, "interrupted");
            self.ledger.journal().interrupted(id, failure);
            tracing::debug!(parent: self.ledger.span(), target = %id, class = failure.class.as_str(), "stream interrupted: {}", failure.message);
            node.metrics.changed(id, changes);
        }
        self.ledger.end(End::Failed(failure.client_code, Some(failure.class)));
        self.to.event(&failure.client_error())
    }

    fn leave(&mut self) -> Bytes {
        self.source = None;
        self.ticket = None;
        self.ledger.end(End::Failed(ErrorCode::Draining, None));
        self.to.event(&ClientError::new(ErrorCode::Draining, "the node stops; the answer is incomplete"))
    }
}
