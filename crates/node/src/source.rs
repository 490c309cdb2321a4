//! One upstream answer as it comes: framed, translated, and never waited for longer than its deadlines allow.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use meridian_ingress::{Budget, Share};
use meridian_llm::{Failure, FailureClass};
use meridian_providers::{Step, StreamTranslator};
use meridian_resilience::{Alarm, Expired, Meter, Stage, Timeline, within};
use meridian_sse::Framer;
use meridian_types::ErrorCode;
use tokio::time::Instant;

use crate::gather::{Gathered, Overfull};

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

/// Whether the client's own time was over, and nothing else went wrong.
pub(crate) fn is_haste(failure: &Failure) -> bool {
    failure.class == FailureClass::Cancelled && failure.client_code == ErrorCode::UpstreamTimeout
}

/// An answer that its client took so slowly that the time for all of it went by. It says nothing about the target.
fn untaken() -> Failure {
    let mut failure = Failure::new(FailureClass::Cancelled, "the client took its answer too slowly");
    failure.client_code = ErrorCode::ClientTimeout;
    failure
}

/// A connection that broke inside an answer, as a failure.
pub(crate) fn broken() -> Failure {
    let mut failure = Failure::new(FailureClass::Transport, "the connection to the upstream broke inside its answer");
    failure.client_code = ErrorCode::UpstreamInterrupted;
    failure
}

/// An answer that this node has no room for. It says nothing about the target, and no other's would find room.
fn no_room() -> Failure {
    let mut failure = Failure::new(FailureClass::Cancelled, "the node has no room to hold the answer");
    failure.client_code = ErrorCode::Overloaded;
    failure
}

/// Reads a whole answer, which takes its share of the budget.
pub(crate) async fn read_whole(
    mut body: Incoming,
    timeline: &Timeline,
    budget: &Budget,
) -> Result<(Bytes, Share), Failure> {
    let mut whole = Gathered::new(budget);
    let (mut meter, mut alarm, mut quiet) = (timeline.meter(), Alarm::default(), Duration::ZERO);
    loop {
        let since = Instant::now();
        let Some(frame) = alarm.within(timeline.more(since, quiet), body.frame()).await.map_err(late)? else { break };
        let Ok(data) = frame.map_err(|_| broken())?.into_data() else { continue };
        let waited = since.elapsed();
        // Some providers (DeepSeek) send empty lines while they think.
        if data.iter().all(u8::is_ascii_whitespace) {
            meter.keep_alive();
            quiet += waited;
        } else {
            quiet = Duration::ZERO;
        }
        meter.add(data.len(), waited).map_err(late)?;
        whole.add(&data).map_err(|why| match why {
            Overfull::Itself => Failure::malformed("the answer is larger than 32 MiB"),
            Overfull::Node => no_room(),
        })?;
    }
    Ok(whole.finish())
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
    alarm: Alarm,
    /// Runs once content has come: before, the first content's own deadline does.
    meter: Option<Meter>,
    /// How long something of the upstream was waited for: in all, ...
    waited: Duration,
    /// ... and since there was content.
    quiet: Duration,
    /// Generation is over: only usage and the end mark are missing.
    finished: bool,
    ended: bool,
    /// Events until the connection is taken for broken: an injected fault.
    events_left: Option<u32>,
}

impl Source {
    pub(crate) fn new(body: Incoming, translator: Box<dyn StreamTranslator>, timeline: Timeline) -> Self {
        Self {
            body,
            framer: Framer::default(),
            translator,
            timeline,
            alarm: Alarm::default(),
            meter: None,
            waited: timeline.elapsed(),
            quiet: Duration::ZERO,
            finished: false,
            ended: false,
            events_left: None,
        }
    }

    /// Breaks off after so many events, if any number is given.
    pub(crate) fn cut_after(self, events: Option<u32>) -> Self {
        Self { events_left: events, ..self }
    }

    /// The next step before any content came. `None`: the answer has ended.
    pub(crate) async fn next_before_content(&mut self) -> Result<Option<Step>, Failure> {
        let deadline = self.timeline.first_token(Instant::now());
        self.next(deadline).await
    }

    /// The next step after content came. `None`: the answer has ended.
    pub(crate) async fn next_after_content(&mut self) -> Result<Option<Step>, Failure> {
        let (timeline, now) = (&self.timeline, Instant::now());
        self.meter.get_or_insert_with(|| timeline.meter());
        // While the client is slow the upstream's events are always at hand, so that no wait for them would ever end.
        if !self.finished {
            timeline.in_time(now).map_err(|expired| self.late(expired))?;
        }
        let deadline = self.timeline.more(now, self.quiet);
        self.next(deadline).await
    }

    /// The next step, if its event came together with the one before.
    pub(crate) fn next_at_hand(&mut self) -> Option<Result<Step, Failure>> {
        self.event().transpose()
    }

    /// A whole event has to come in time, and not only a piece of it. What came while nobody asked is there at once.
    async fn next(&mut self, deadline: (Instant, Stage)) -> Result<Option<Step>, Failure> {
        loop {
            if let Some(step) = self.event()? {
                return Ok(Some(step));
            }
            if self.ended {
                return Ok(None);
            }
            match self.read(deadline).await {
                Ok(true) => {}
                Err(failure) if !self.finished => return Err(failure),
                // Whatever became of the connection, the answer is whole.
                Ok(false) | Err(_) => {
                    self.ended = true;
                    return self.translator.end().map(Some);
                }
            }
        }
    }

    /// The step of the next event, if all of that has been read.
    fn event(&mut self) -> Result<Option<Step>, Failure> {
        let event = self.framer.next_event().map_err(|_| Failure::malformed("a stream event is too large"))?;
        let Some(event) = event else { return Ok(None) };
        if let Some(left) = &mut self.events_left {
            *left = left.checked_sub(1).ok_or_else(broken)?;
        }
        let step = self.translator.event(event)?;
        self.finished |= step.finished;
        if step.content {
            self.quiet = Duration::ZERO;
        } else if let Some(meter) = &mut self.meter {
            meter.keep_alive();
        }
        Ok(Some(step))
    }

    /// Reads on; whether there was more.
    async fn read(&mut self, deadline: (Instant, Stage)) -> Result<bool, Failure> {
        let since = Instant::now();
        let frame = self.alarm.within(deadline, self.body.frame()).await;
        let waited = since.elapsed();
        self.waited += waited;
        self.quiet += waited;
        let Some(frame) = frame.map_err(|expired| self.late(expired))? else { return Ok(false) };
        if let Ok(data) = frame.map_err(|_| broken())?.into_data() {
            if let Some(meter) = &mut self.meter {
                meter.add(data.len(), waited).map_err(late)?;
            }
            self.framer.feed(data);
        }
        Ok(true)
    }

    /// A deadline that passed, as a failure of whoever was waited for for most of the time.
    fn late(&self, expired: Expired) -> Failure {
        let upstreams = self.waited >= self.timeline.elapsed() / 2;
        if expired.stage == Stage::Total && !upstreams { untaken() } else { late(expired) }
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
