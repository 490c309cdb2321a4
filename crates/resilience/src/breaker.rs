//! The breaker of one target: when to leave it alone, and how to come back.
//!
//! ```text
//!          consecutive failures, or                cool-down over,
//!          too many of a window                    or probes say so
//!   Closed ───────────────────────► Open ─────────────────────────► Half-open
//!      ▲                              ▲                                │   │
//!      │                              └── a probe fails: cool-down ────┘   │
//!      │                                  doubled, up to a limit           │
//!      └── enough good probes, then a growing share of the traffic ────────┘
//! ```
//! While active probes fail the cool-down goes on, so that it is not for requests to find out that nothing has changed.
//! Pressure (429, 503, 529) is beside this: the target is left alone until the time that it named, and is not counted
//! as dead; afterwards its share of the traffic grows again.

use std::time::Duration;

use tokio::time::Instant;

mod policy;
mod window;

pub use policy::Policy;
use window::Window;

/// How an attempt ended, as far as the target is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered; a refusal of the request is an answer too.
    Answered,
    /// It failed.
    Failed,
    /// It failed, as others had said that it would: opens at once.
    Confirmed,
    /// It cannot serve anyone until a person acts (credential): opens at once.
    Barred,
    /// It asked to be left alone, for that long if it said so.
    Pressed(Option<Duration>),
    /// Nothing was learned: the client left.
    Unknown,
}

/// Leave to make one attempt. Give it back with the outcome, whatever that is.
#[derive(Debug)]
#[must_use]
pub struct Pass {
    probe: bool,
    /// Openings so far: what began before an opening says nothing about after it.
    generation: u64,
    /// The breaker turned half-open with it.
    pub(crate) turned: bool,
}

impl Pass {
    /// Whether its outcome decides if the breaker closes.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// What changed when it was given.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        self.turned.then_some(Change::HalfOpen)
    }
}

/// Why a breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Failures in a row.
    Consecutive,
    /// A failure of which others had warned.
    Confirmed,
    /// Too many of the last attempts: it serves some, so that it is only suspected.
    Ratio,
    /// It refused the credential.
    Refused,
    /// A probe while half-open failed.
    Relapse,
    /// Active probes found it dead.
    Probes,
    /// It begins its answers far later than its peers: it serves, so that it is only suspected.
    Slow,
}

impl Reason {
    /// The stable name, as in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive",
            Self::Confirmed => "confirmed",
            Self::Ratio => "ratio",
            Self::Refused => "refused",
            Self::Relapse => "relapse",
            Self::Probes => "probes",
            Self::Slow => "slow",
        }
    }
}

/// Whether the target would be asked now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Status {
    /// It would.
    Closed,
    /// It is coming back, and should get this share of what it otherwise would: above 0, below 1.
    Ramping(f64),
    /// It is left alone for that much longer.
    Open(Duration, Reason),
    /// It cools down no more, but every probe is already under way.
    Probing,
    /// It is under pressure, and left alone for that much longer.
    Resting {
        /// How much longer.
        left: Duration,
        /// It named the time itself: sooner it will not serve.
        asked: bool,
    },
}

/// A state change, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It opened, for that long.
    Opened(Duration, Reason),
    /// It lets probes through.
    HalfOpen,
    /// It closed.
    Closed,
    /// It rests, for that long; whether it named the time.
    Rests(Duration, bool),
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32, since: Option<Instant> },
    Open { since: Instant, until: Instant, reason: Reason, good: u32 },
    HalfOpen { probing: u32, good: u32, reason: Reason },
}

/// A rest under pressure.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    length: Duration,
    asked: bool,
}

/// The state of one target.
#[derive(Debug)]
pub struct Breaker {
    policy: Policy,
    state: State,
    generation: u64,
    /// Openings without a long quiet time in between: what makes cool-downs grow.
    openings: u32,
    /// Pressure in a row: what makes rests grow.
    pressures: u32,
    window: Window,
    rest: Option<Rest>,
    /// Active probes found it dead, and will have said more by then.
    dead_until: Option<Instant>,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let state = State::Closed { failures: 0, since: None };
        let window = Window::new(policy.window);
        Self { policy, state, generation: 0, openings: 0, pressures: 0, window, rest: None, dead_until: None }
    }

    /// Whether the target would be asked at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        if let Some(Rest { until, asked, .. }) = self.rest.filter(|rest| rest.until > now) {
            return Status::Resting { left: until - now, asked };
        }
        match self.state {
            State::Open { until, reason, .. } if until > now => Status::Open(until - now, reason),
            State::HalfOpen { probing, .. } if probing >= self.policy.probes => Status::Probing,
            State::Closed { since, .. } => self.ramp(since, now),
            State::Open { .. } | State::HalfOpen { .. } => Status::Closed,
        }
    }

    /// Why it opened, until it closes again; `None`: it is closed.
    #[must_use]
    pub fn opened_for(&self) -> Option<Reason> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { reason, .. } | State::HalfOpen { reason, .. } => Some(reason),
        }
    }

    /// The share of a target that has just come back, from a cool-down or from a rest.
    fn ramp(&self, closed: Option<Instant>, now: Instant) -> Status {
        let share = |from: Instant, over: Duration| {
            let passed = now.saturating_duration_since(from).as_secs_f64();
            (passed / over.as_secs_f64().max(f64::EPSILON)).max(self.policy.first_share)
        };
        let closed = closed.map_or(1.0, |since| share(since, self.policy.ramp));
        let rested = self.rest.map_or(1.0, |rest| share(rest.until, rest.length.min(self.policy.ramp)));
        let share = closed.min(rested);
        if share < 1.0 { Status::Ramping(share) } else { Status::Closed }
    }

    /// Leave to ask the target now, or why not.
    ///
    /// # Errors
    /// When it cools down, rests, or enough probes are under way.
    pub fn admit(&mut self, now: Instant) -> Result<Pass, Status> {
        match self.status(now) {
            Status::Closed | Status::Ramping(_) => Ok(self.pass()),
            closed => Err(closed),
        }
    }

    /// Leave to ask the target although it cools down: every other one does too.
    pub fn admit_anyway(&mut self, now: Instant) -> Pass {
        match self.status(now) {
            Status::Closed | Status::Ramping(_) => self.pass(),
            _ => Pass { probe: false, generation: self.generation, turned: false },
        }
    }

    fn pass(&mut self) -> Pass {
        let turned = matches!(self.state, State::Open { .. });
        if let State::Open { reason, .. } = self.state {
            self.state = State::HalfOpen { probing: 0, good: 0, reason };
        }
        let probe = match &mut self.state {
            State::HalfOpen { probing, .. } => {
                *probing += 1;
                true
            }
            _ => false,
        };
        Pass { probe, generation: self.generation, turned }
    }

    /// Takes the outcome of an attempt. `unit` is random in `[0, 1)`, for the jitter.
    pub fn record(&mut self, pass: Pass, outcome: Outcome, now: Instant, unit: f64) -> Option<Change> {
        let current = pass.generation == self.generation;
        if pass.probe
            && current
            && let State::HalfOpen { probing, .. } = &mut self.state
        {
            *probing = probing.saturating_sub(1);
        }
        match outcome {
            Outcome::Unknown => None,
            Outcome::Pressed(asked) => Some(self.pressed(asked, now, unit)),
            Outcome::Answered => self.answered(&pass, current, now),
            Outcome::Barred if current => {
                self.openings = u32::MAX;
                Some(self.open(Reason::Refused, now, unit))
            }
            Outcome::Confirmed if current && matches!(self.state, State::Closed { .. }) => {
                Some(self.open(Reason::Confirmed, now, unit))
            }
            Outcome::Failed | Outcome::Confirmed if current => self.failed(now, unit),
            Outcome::Barred | Outcome::Failed | Outcome::Confirmed => None,
        }
    }

    /// Active probes say that it answers again: requests may look, a few at a time, before the cool-down is over.
    pub fn looks_alive(&mut self) -> Option<Change> {
        let State::Open { reason, .. } = self.state else { return None };
        // Only requests can tell whether a credential is taken again, and whether it is as fast as it was.
        if matches!(reason, Reason::Refused | Reason::Slow) {
            return None;
        }
        self.state = State::HalfOpen { probing: 0, good: 0, reason };
        self.dead_until = None;
        Some(Change::HalfOpen)
    }

    /// An active probe found it dead still: until `next`, when another one will have said more, no request has to look,
    /// nor after one that is looking now.
    pub fn stays_dead(&mut self, next: Instant) {
        if !matches!(self.state, State::Closed { .. }) {
            self.dead_until = Some(next);
        }
        if let State::Open { since, until, reason, .. } = &mut self.state
            && *reason != Reason::Refused
        {
            *until = (*until).max(next.min(*since + self.policy.longest_unseen));
        }
    }

    /// Active probes say that it is dead, before a request had to find out.
    pub fn looks_dead(&mut self, now: Instant, unit: f64) -> Option<Change> {
        matches!(self.state, State::Closed { .. }).then(|| self.open(Reason::Probes, now, unit))
    }

    /// Its peers begin their answers far sooner. Not while it comes back: it has just been left alone.
    pub fn looks_slow(&mut self, now: Instant, unit: f64) -> Option<Change> {
        matches!(self.status(now), Status::Closed)
            .then(|| matches!(self.state, State::Closed { .. }).then(|| self.open(Reason::Slow, now, unit)))
            .flatten()
    }

    fn pressed(&mut self, asked: Option<Duration>, now: Instant, unit: f64) -> Change {
        let grown = self.policy.rest.saturating_mul(1 << self.pressures.min(16)).min(self.policy.max_cool_down);
        let base = asked.unwrap_or(grown).min(self.policy.max_rest);
        // Never sooner than asked, and not everyone at the same moment.
        let length = base + (base / 10).mul_f64(unit);
        // What was under way when the rest began says nothing new.
        if self.rest.is_none_or(|rest| rest.until <= now) {
            self.pressures = self.pressures.saturating_add(1);
        }
        let new = Rest { until: now + length, length, asked: asked.is_some() };
        self.rest = Some(self.rest.filter(|before| before.until > new.until).unwrap_or(new));
        Change::Rests(length, asked.is_some())
    }

    fn answered(&mut self, pass: &Pass, current: bool, now: Instant) -> Option<Change> {
        self.pressures = 0;
        if !current {
            return None;
        }
        let enough = self.policy.successes;
        match &mut self.state {
            State::Closed { failures, since } => {
                *failures = 0;
                if since.is_some_and(|since| now.saturating_duration_since(since) >= self.policy.forget) {
                    self.openings = 0;
                }
                self.window.add(false, now);
                None
            }
            State::HalfOpen { good, .. } if pass.probe => {
                *good += 1;
                (*good >= enough).then(|| self.close(now))
            }
            // Tried as a last resort, and it lives. That it is slow is not refuted by an answer.
            State::Open { reason, good, .. } if *reason != Reason::Slow => {
                *good += 1;
                (*good >= enough).then(|| self.close(now))
            }
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    fn close(&mut self, now: Instant) -> Change {
        self.state = State::Closed { failures: 0, since: Some(now) };
        self.dead_until = None;
        self.window.clear();
        Change::Closed
    }

    fn failed(&mut self, now: Instant, unit: f64) -> Option<Change> {
        match &mut self.state {
            State::Closed { failures, .. } => {
                *failures += 1;
                let in_a_row = *failures >= self.policy.consecutive;
                self.window.add(true, now);
                let (all, failed) = self.window.counts(now);
                let many = all >= self.policy.volume && f64::from(failed) >= self.policy.ratio * f64::from(all);
                match (in_a_row, many) {
                    (true, _) => Some(self.open(Reason::Consecutive, now, unit)),
                    (false, true) => Some(self.open(Reason::Ratio, now, unit)),
                    (false, false) => None,
                }
            }
            State::HalfOpen { .. } => Some(self.open(Reason::Relapse, now, unit)),
            // A last resort that failed tells nothing new.
            State::Open { good, .. } => {
                *good = 0;
                None
            }
        }
    }

    fn open(&mut self, reason: Reason, now: Instant, unit: f64) -> Change {
        let grown = self.policy.cool_down.saturating_mul(1 << self.openings.min(16)).min(self.policy.max_cool_down);
        // Between half and all of it, so that nodes do not come back together.
        let cool_down = grown.mul_f64(0.5 + unit / 2.0);
        self.openings = self.openings.saturating_add(1);
        self.generation += 1;
        self.window.clear();
        let dead = match (reason, self.dead_until) {
            (Reason::Refused, _) | (_, None) => Duration::ZERO,
            (_, Some(dead)) => dead.saturating_duration_since(now).min(self.policy.longest_unseen),
        };
        let cool_down = cool_down.max(dead);
        self.state = State::Open { since: now, until: now + cool_down, reason, good: 0 };
        Change::Opened(cool_down, reason)
    }
}

#[cfg(test)]
mod tests;
