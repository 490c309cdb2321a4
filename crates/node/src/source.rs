//! One upstream answer as it comes: framed, translated, and never waited for longer than its deadlines allow.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use meridian_llm::{Failure, FailureClass};
use meridian_providers::{Step, StreamTranslator};
use meridian_resilience::{Expired, Stage, Timeline, within};
use meridian_sse::Framer;
use meridian_types::ErrorCode;
use tokio::time::Instant;

/// Largest whole answer. The longest completions are under 1 MiB; with images or audio inside some reach 20.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// What is read of an error's body: enough for the largest typed error, with the message that goes to the client.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// How long an error's body may take: its status alone says most.
const ERROR_BODY: Duration = Duration::from_secs(2);

/// How long the end of a body is waited for after its last event, so that its connection can be used again.
const TRAILER: Duration = Duration::from_secs(1);

/// A deadline that passed, as a failure.
pub(crate) fn late(Expired { stage }: Expired) -> Failure {
    // A client in a hurry says nothing about the target.
    let class = if stage == Stage::Client { FailureClass::Cancelled } else { FailureClass::Transport };
    let mut failure = Failure::new(class, stage.message());
    failure.client_code = ErrorCode::UpstreamTimeout;
    failure
}

/// A connection that broke inside an answer, as a failure.
fn broken() -> Failure {
    let mut failure = Failure::new(FailureClass::Transport, "the connection to the upstream broke inside its answer");
    failure.client_code = ErrorCode::UpstreamInterrupted;
    failure
}

/// Reads a whole answer.
pub(crate) async fn read_whole(mut body: Incoming, timeline: &Timeline) -> Result<Bytes, Failure> {
    let mut whole = BytesMut::new();
    while let Some(frame) = within(timeline.idle(), body.frame()).await.map_err(late)? {
        let Ok(data) = frame.map_err(|_| broken())?.into_data() else { continue };
        if whole.len() + data.len() > MAX_ANSWER_BYTES {
            return Err(Failure::malformed("the answer is larger than 32 MiB"));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads what comes of an error's body within its limits; whatever goes wrong, the status remains.
pub(crate) async fn read_error(mut body: Incoming) -> Bytes {
    let mut read = BytesMut::new();
    let end = Instant::now() + ERROR_BODY;
    while let Ok(Some(Ok(frame))) = within((end, Stage::Idle), body.frame()).await {
        let data = frame.into_data().unwrap_or_default();
        let room = MAX_ERROR_BYTES - read.len();
        read.extend_from_slice(data.get(..room).unwrap_or(&data));
        if data.len() >= room {
            break;
        }
    }
    read.freeze()
}

/// A streamed answer, event by event.
pub(crate) struct Source {
    body: Incoming,
    framer: Framer,
    translator: Box<dyn StreamTranslator>,
    timeline: Timeline,
    ended: bool,
}

impl Source {
    pub(crate) fn new(body: Incoming, translator: Box<dyn StreamTranslator>, timeline: Timeline) -> Self {
        Self { body, framer: Framer::default(), translator, timeline, ended: false }
    }

    /// The next step before any content came. `None`: the answer has ended.
    pub(crate) async fn next_before_content(&mut self) -> Result<Option<Step>, Failure> {
        self.next(Timeline::first_token).await
    }

    /// The next step after content came. `None`: the answer has ended.
    pub(crate) async fn next_after_content(&mut self) -> Result<Option<Step>, Failure> {
        self.next(Timeline::idle).await
    }

    async fn next(&mut self, deadline: fn(&Timeline) -> (Instant, Stage)) -> Result<Option<Step>, Failure> {
        loop {
            let event = self.framer.next_event().map_err(|_| Failure::malformed("a stream event is too large"))?;
            if let Some(event) = event {
                return self.translator.event(event).map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            match within(deadline(&self.timeline), self.body.frame()).await.map_err(late)? {
                Some(frame) => {
                    if let Ok(data) = frame.map_err(|_| broken())?.into_data() {
                        self.framer.feed(data);
                    }
                }
                None => {
                    self.ended = true;
                    return self.translator.end().map(Some);
                }
            }
        }
    }

    /// Since the attempt began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.timeline.elapsed()
    }

    /// The last event was read; lets the connection go back to its pool.
    pub(crate) fn finish(self) {
        if self.ended {
            return;
        }
        let mut body = self.body;
        tokio::spawn(async move {
            let end = Instant::now() + TRAILER;
            while let Ok(Some(Ok(_))) = within((end, Stage::Idle), body.frame()).await {}
        });
    }
}
