//! Plays a script as a response body: no task of its own, one timer, one small frame at a time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use crate::answer::{Script, Step};
use crate::fault::Broken;
use crate::link::{BrokenOff, LastWords, Link};
use crate::record::{Flight, Outcome};

/// What breaks a connection that is to end in garbage half-way: no HTTP, no UTF-8.
pub(crate) const GARBAGE: &[u8] = b"\x16\x03\x01\x00\xff\xfenot http at all\r\n\x00\x00\r\n\r\n";
/// Writes a second of a drip: at 10 bytes/s and more, a tenth of the rate at a time.
const DRIPS_PER_S: u32 = 10;

/// A response body.
#[derive(Debug)]
pub(crate) struct Playback {
    script: Script,
    flight: Flight,
    link: Link,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the step in hand is due. Waits add up from here and not from "now", so that timer rounding does not.
    due: Instant,
    waiting: bool,
    drip: Option<Drip>,
    /// Bytes of a dripping step that are not out yet.
    left: Bytes,
    /// A frame was returned since the last `Pending`: it may sit in hyper's buffer.
    unflushed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Drip {
    bytes: usize,
    every: Duration,
}

impl Playback {
    pub(crate) fn new(script: Script, bytes_per_s: Option<u32>, flight: Flight, link: Link) -> Self {
        let drip = bytes_per_s.map(|rate| {
            let bytes = (rate / DRIPS_PER_S).max(1);
            Drip { bytes: bytes as usize, every: Duration::from_secs(1) * bytes / rate.max(1) }
        });
        Self {
            script,
            flight,
            link,
            timer: None,
            due: Instant::now(),
            waiting: false,
            drip,
            left: Bytes::new(),
            unflushed: false,
        }
    }

    fn wait(&mut self, time: Duration) {
        self.due += time;
        self.waiting = true;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(self.due),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(self.due))),
        }
    }

    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting
            && let Some(timer) = &mut self.timer
        {
            if timer.as_mut().poll(context).is_pending() {
                self.unflushed = false;
                return Poll::Pending;
            }
            self.waiting = false;
        }
        Poll::Ready(())
    }

    fn frame(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.unflushed = true;
        self.flight.sent(bytes.len());
        if self.is_end_stream() {
            self.flight.ends_as(Outcome::Completed);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn break_off(&mut self, how: Broken) -> BrokenOff {
        self.flight.ends_as(Outcome::Broken);
        self.link.break_off(how.last_words())
    }
}

impl Broken {
    pub(crate) fn last_words(self) -> LastWords {
        match self {
            Self::Close => LastWords::None,
            Self::Reset => LastWords::Reset,
            Self::Garbage => LastWords::Raw(Bytes::from_static(GARBAGE)),
        }
    }
}

impl Body for Playback {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            ready!(self.poll_wait(context));
            if let Some(drip) = self.drip.filter(|_| !self.left.is_empty()) {
                let size = drip.bytes.min(self.left.len());
                let bytes = self.left.split_to(size);
                if !self.is_end_stream() {
                    self.wait(drip.every);
                }
                return self.frame(bytes);
            }
            match self.script.next() {
                None => {
                    self.flight.ends_as(Outcome::Completed);
                    return Poll::Ready(None);
                }
                Some(Step::Send(bytes)) if bytes.is_empty() => {}
                Some(Step::Send(bytes)) if self.drip.is_some() => self.left = bytes,
                Some(Step::Send(bytes)) => return self.frame(bytes),
                Some(Step::Wait(time)) => self.wait(time),
                Some(Step::Hang) => {
                    // Polled again whenever the connection is, so it stays the next step for ever.
                    self.script.put_back(Step::Hang);
                    return Poll::Pending;
                }
                Some(Step::Break(how)) if self.unflushed => {
                    // Let hyper write what it has before the error makes it drop everything.
                    self.script.put_back(Step::Break(how));
                    self.unflushed = false;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Break(how)) => return Poll::Ready(Some(Err(self.break_off(how)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.script.is_done()
    }
}
