//! Passes another node's stream on: whole events as they come, untouched, and at the end the truth.
//!
//! The other node has judged every event and ends a broken answer in-band itself. Only its own death is ours to tell: then
//! the client has had whole events alone, and gets the error after them.

use std::io;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use meridian_ingress::{Audience, Body};
use meridian_llm::{ClientError, FailureClass};
use meridian_sse::Framer;
use meridian_types::ErrorCode;

use crate::ledger::{End, Ledger};

/// A stream on its way from another node to the client. Dropping it means that the client is gone: the other node's call is
/// cancelled with it.
pub(crate) struct Relay {
    /// `None`: it has ended.
    body: Option<Incoming>,
    framer: Framer,
    ledger: Ledger,
    to: Audience,
}

impl Relay {
    pub(crate) fn new(body: Incoming, ledger: Ledger, to: Audience) -> Self {
        Self { body: Some(body), framer: Framer::default(), ledger, to }
    }

    /// As a body. Each event is a frame of its own, so that nothing waits for company.
    pub(crate) fn into_body(self) -> Body {
        let frames = stream::unfold(Box::new(self), |mut relay| async move {
            let bytes = relay.next().await?;
            Some((Ok::<_, io::Error>(Frame::data(bytes)), relay))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.body.as_ref()?;
            match self.framer.next_event() {
                Ok(Some(event)) => return Some(event.into_raw()),
                Ok(None) => {}
                Err(_) => return Some(self.fail(ErrorCode::UpstreamInvalid, "a stream event is too large")),
            }
            let leaving = self.ledger.node().leaving.clone();
            let body = self.body.as_mut()?;
            let frame = tokio::select! {
                biased;
                () = leaving.cancelled() => {
                    return Some(self.fail(ErrorCode::Draining, "the node stops; the answer is incomplete"));
                }
                frame = body.frame() => frame,
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.framer.feed(data);
                    }
                }
                None if self.framer.is_clean() => {
                    self.body = None;
                    self.ledger.end(End::Answered);
                    return None;
                }
                Some(Err(_)) | None => {
                    let why = "the connection to the region that served broke inside its answer";
                    return Some(self.fail(ErrorCode::UpstreamInterrupted, why));
                }
            }
        }
    }

    /// Without the dialect's end mark: a stream that just ends passes for a whole answer.
    fn fail(&mut self, code: ErrorCode, why: &'static str) -> Bytes {
        self.body = None;
        let class = (code != ErrorCode::Draining).then_some(FailureClass::Transport);
        self.ledger.end(End::Failed(code, class));
        tracing::debug!(parent: self.ledger.span(), code = code.as_str(), "handed-over stream interrupted: {why}");
        self.to.event(&ClientError::new(code, why))
    }
}
