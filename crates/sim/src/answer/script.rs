//! The steps of an answer with its faults: a pure generator of bytes, waits and breaks, one piece at a time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::Reply;
use crate::dialect::{Dialect, Events, Identity};
use crate::fault::{Broken, Incident, Plan, What};

/// Between the two halves of a cut emoji: long enough to leave in two segments.
const EMOJI_WAIT: Duration = Duration::from_millis(5);
/// The halves of the emoji in UTF-16, as JSON strings that no valid UTF-8 can hold.
const LONE_SURROGATES: [&str; 2] = [r#"" \ud83c""#, r#""\udf0d""#];

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Bytes),
    Wait(Duration),
    Hang,
    Break(Broken),
}

/// Delays of an answer without faults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) first_token: Duration,
    pub(crate) gap: Duration,
}

/// The steps that remain.
#[derive(Debug)]
pub(crate) struct Script {
    queue: VecDeque<Step>,
    stream: Option<Box<Stream>>,
}

#[derive(Debug)]
struct Stream {
    reply: Reply,
    events: Events,
    next: u32,
    gap: (Duration, Option<Duration>),
    surrogates: bool,
    incident: Option<Incident>,
    /// The in-band error, if the incident is one.
    error: Bytes,
    no_done: bool,
}

impl Script {
    /// One document. An incident strikes when half of it is out.
    pub(crate) fn document(body: Bytes, incident: Option<What>, emoji: bool) -> Self {
        let middle = if emoji { inside_emoji(&body) } else { body.len() / 2 };
        let (first, rest) = (Step::Send(body.slice(..middle)), Step::Send(body.slice(middle..)));
        let steps = match incident {
            Some(What::Stall(Some(pause))) => vec![first, Step::Wait(pause), rest],
            Some(What::Stall(None)) => vec![first, Step::Hang],
            Some(What::Cut(how)) => vec![first, Step::Break(how)],
            Some(What::Truncate) => vec![first, Step::Break(Broken::Close)],
            Some(What::End) => vec![first],
            Some(What::NoFinish | What::BadSse | What::Error(_)) | None if emoji => {
                vec![first, Step::Wait(EMOJI_WAIT), rest]
            }
            Some(What::NoFinish | What::BadSse | What::Error(_)) | None => vec![Step::Send(body)],
        };
        Self { queue: steps.into(), stream: None }
    }

    /// A stream of events.
    pub(crate) fn stream(
        dialect: Dialect,
        id: &Identity,
        reply: Reply,
        events: Events,
        pace: Pace,
        plan: &Plan,
    ) -> Self {
        let mut queue: VecDeque<Step> = VecDeque::new();
        if plan.prompt_filter {
            queue.extend(dialect.prompt_filter().map(Step::Send));
        }
        queue.extend(events.opening.iter().cloned().map(Step::Send));
        let (delay, ping_every) = plan.first_token.unwrap_or((pace.first_token, None));
        wait(&mut queue, delay, ping_every, &events.ping);
        let error = match plan.incident {
            Some(Incident { what: What::Error(kind), .. }) => dialect.error_event(kind, id),
            _ => Bytes::new(),
        };
        let stream = Stream {
            reply,
            events,
            next: 0,
            gap: plan.gap.unwrap_or((pace.gap, None)),
            surrogates: plan.emoji.is_some_and(|(_, surrogates)| surrogates),
            incident: plan.incident,
            error,
            no_done: plan.no_done,
        };
        Self { queue, stream: Some(Box::new(stream)) }
    }

    /// The next step; `None` is the end.
    pub(crate) fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.queue.pop_front() {
                return Some(step);
            }
            let stream = self.stream.as_mut()?;
            if !stream.advance(&mut self.queue) {
                self.stream = None;
            }
        }
    }

    /// Returns a step that could not be done yet.
    pub(crate) fn put_back(&mut self, step: Step) {
        self.queue.push_front(step);
    }

    /// Whether nothing remains.
    pub(crate) fn is_done(&self) -> bool {
        self.queue.is_empty() && self.stream.is_none()
    }

    /// Every byte up to the end or the first break, without the waits.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(step) = self.next() {
            match step {
                Step::Send(bytes) => out.extend_from_slice(&bytes),
                Step::Wait(_) => {}
                Step::Hang | Step::Break(_) => break,
            }
        }
        out
    }
}

impl Stream {
    /// Adds the steps of the next piece; false when these are the last.
    fn advance(&mut self, queue: &mut VecDeque<Step>) -> bool {
        let end = self.reply.len();
        if let Some(incident) = self.incident.take_if(|incident| self.next >= incident.after.min(end))
            && !self.strike(incident.what, queue)
        {
            return false;
        }
        if self.next >= end {
            queue.extend(self.events.closing.drain(..).map(Step::Send));
            if !self.no_done {
                queue.push_back(Step::Send(self.events.terminator.clone()));
            }
            return false;
        }
        if self.next > 0 {
            let (pause, ping_every) = self.gap;
            wait(queue, pause, ping_every, &self.events.ping);
        }
        if self.reply.emoji() == Some(self.next) {
            self.emoji(queue);
        } else {
            queue.push_back(Step::Send(self.piece()));
        }
        self.next += 1;
        true
    }

    /// Adds the steps of an incident; whether the stream goes on after it.
    fn strike(&self, what: What, queue: &mut VecDeque<Step>) -> bool {
        match what {
            What::Stall(Some(pause)) => queue.push_back(Step::Wait(pause)),
            What::Stall(None) => queue.push_back(Step::Hang),
            What::Cut(how) => queue.push_back(Step::Break(how)),
            What::End => {}
            What::NoFinish => queue.push_back(Step::Send(self.events.terminator.clone())),
            What::BadSse => queue.push_back(Step::Send(self.events.malformed.clone())),
            What::Error(_) => queue.push_back(Step::Send(self.error.clone())),
            What::Truncate => {
                let event = self.piece();
                queue.push_back(Step::Send(event.slice(..event.len() / 2)));
                queue.push_back(Step::Break(Broken::Close));
            }
        }
        matches!(what, What::Stall(Some(_)) | What::BadSse)
    }

    fn emoji(&self, queue: &mut VecDeque<Step>) {
        if self.surrogates {
            queue.extend(LONE_SURROGATES.map(|half| Step::Send(self.events.piece.render_raw(half))));
            return;
        }
        let event = self.piece();
        let middle = inside_emoji(&event);
        queue.push_back(Step::Send(event.slice(..middle)));
        queue.push_back(Step::Wait(EMOJI_WAIT));
        queue.push_back(Step::Send(event.slice(middle..)));
    }

    fn piece(&self) -> Bytes {
        self.events.piece.render_piece(&self.reply.piece(self.next))
    }
}

/// Waits, with a keep-alive now and then.
fn wait(queue: &mut VecDeque<Step>, delay: Duration, ping_every: Option<Duration>, ping: &Bytes) {
    let mut left = delay;
    // The spec bounds both, and so the number of pings.
    if let Some(every) = ping_every {
        while left > every {
            queue.push_back(Step::Wait(every));
            queue.push_back(Step::Send(ping.clone()));
            left -= every;
        }
    }
    if !left.is_zero() {
        queue.push_back(Step::Wait(left));
    }
}

/// An offset between the bytes of the first four-byte character; half of the whole if there is none.
fn inside_emoji(bytes: &Bytes) -> usize {
    bytes.iter().position(|byte| *byte >= 0xF0).map_or(bytes.len() / 2, |start| start + 2)
}
