//! The breaker of one target: when to leave it alone, and how to come back.
//!
//! ```text
//!            consecutive failures                  cool-down over
//!   Closed ───────────────────────► Open ─────────────────────────► Half-open
//!      ▲                              ▲                                │   │
//!      │                              └── a probe fails: cool-down ────┘   │
//!      │                                  doubled, up to a limit           │
//!      └────────────────────── enough good probes ────────────────────────┘
//! ```
//! Pressure (429, 503 with Retry-After) is beside this: the target is left alone until the time that it named, and is
//! not counted as dead.

use std::time::Duration;

use tokio::time::Instant;

/// The numbers.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Failures in a row that open it. One may be the request's bad luck; three at a busy node are over in 100 ms.
    pub consecutive: u32,
    /// The first cool-down.
    pub cool_down: Duration,
    /// The longest one: what a recovered provider may stay unused.
    pub max_cool_down: Duration,
    /// Rest under pressure, if the upstream names none.
    pub rest: Duration,
    /// The longest rest that an upstream may ask for: its word is not worth more than a look once a minute.
    pub max_rest: Duration,
    /// Probes let through at once while half-open.
    pub probes: u32,
    /// Good probes that close it.
    pub successes: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            consecutive: 3,
            cool_down: Duration::from_secs(1),
            max_cool_down: Duration::from_secs(15),
            rest: Duration::from_secs(1),
            max_rest: Duration::from_secs(60),
            probes: 1,
            successes: 2,
        }
    }
}

/// How an attempt ended, as far as the target is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered; a refusal of the request is an answer too.
    Answered,
    /// It failed.
    Failed,
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
}

/// Whether the target would be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It would.
    Closed,
    /// It failed repeatedly and is left alone for that much longer.
    Open(Duration),
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
    Opened(Duration),
    /// It closed.
    Closed,
    /// It rests, for that long.
    Rests(Duration),
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probing: u32, good: u32 },
}

/// The state of one target.
#[derive(Debug)]
pub struct Breaker {
    policy: Policy,
    state: State,
    generation: u64,
    /// Openings in a row without a closing in between: what makes cool-downs grow.
    openings: u32,
    rest: Option<Rest>,
}

/// A rest under pressure.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    asked: bool,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, state: State::Closed { failures: 0 }, generation: 0, openings: 0, rest: None }
    }

    /// Whether the target would be asked at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        if let Some(Rest { until, asked }) = self.rest.filter(|rest| rest.until > now) {
            return Status::Resting { left: until - now, asked };
        }
        match self.state {
            State::Open { until } if until > now => Status::Open(until - now),
            State::HalfOpen { probing, .. } if probing >= self.policy.probes => Status::Probing,
            _ => Status::Closed,
        }
    }

    /// Leave to ask the target now, or why not.
    ///
    /// # Errors
    /// When it cools down, rests, or enough probes are under way.
    pub fn admit(&mut self, now: Instant) -> Result<Pass, Status> {
        match self.status(now) {
            Status::Closed => Ok(self.pass()),
            closed => Err(closed),
        }
    }

    /// Leave to ask the target although it cools down: every other one does too.
    pub fn admit_anyway(&mut self, now: Instant) -> Pass {
        match self.status(now) {
            Status::Closed => self.pass(),
            _ => Pass { probe: false, generation: self.generation },
        }
    }

    fn pass(&mut self) -> Pass {
        if matches!(self.state, State::Open { .. }) {
            self.state = State::HalfOpen { probing: 0, good: 0 };
        }
        let probe = match &mut self.state {
            State::HalfOpen { probing, .. } => {
                *probing += 1;
                true
            }
            _ => false,
        };
        Pass { probe, generation: self.generation }
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
            Outcome::Pressed(asked) => Some(self.rest(asked, now, unit)),
            Outcome::Answered => self.answered(&pass, current),
            Outcome::Barred if current => {
                self.openings = u32::MAX;
                Some(self.open(now, unit))
            }
            Outcome::Failed if current => self.failed(now, unit),
            Outcome::Barred | Outcome::Failed => None,
        }
    }

    fn rest(&mut self, asked: Option<Duration>, now: Instant, unit: f64) -> Change {
        let base = asked.unwrap_or(self.policy.rest).min(self.policy.max_rest);
        // Never sooner than asked, and not everyone at the same moment.
        let rest = base + (base / 10).mul_f64(unit);
        let new = Rest { until: now + rest, asked: asked.is_some() };
        self.rest = Some(self.rest.filter(|before| before.until > new.until).unwrap_or(new));
        Change::Rests(rest)
    }

    fn answered(&mut self, pass: &Pass, current: bool) -> Option<Change> {
        if !current {
            return None;
        }
        match &mut self.state {
            State::Closed { failures } => {
                *failures = 0;
                self.openings = 0;
                None
            }
            State::HalfOpen { good, .. } if pass.probe => {
                *good += 1;
                (*good >= self.policy.successes).then(|| self.close())
            }
            // Tried as a last resort, and it lives.
            State::Open { .. } => Some(self.close()),
            State::HalfOpen { .. } => None,
        }
    }

    fn close(&mut self) -> Change {
        self.state = State::Closed { failures: 0 };
        self.openings = 0;
        Change::Closed
    }

    fn failed(&mut self, now: Instant, unit: f64) -> Option<Change> {
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                (*failures >= self.policy.consecutive).then(|| self.open(now, unit))
            }
            State::HalfOpen { .. } => Some(self.open(now, unit)),
            // A last resort that failed tells nothing new.
            State::Open { .. } => None,
        }
    }

    fn open(&mut self, now: Instant, unit: f64) -> Change {
        let grown = self.policy.cool_down.saturating_mul(1 << self.openings.min(16)).min(self.policy.max_cool_down);
        // Between half and all of it, so that nodes do not come back together.
        let cool_down = grown.mul_f64(0.5 + unit / 2.0);
        self.openings = self.openings.saturating_add(1);
        self.generation += 1;
        self.state = State::Open { until: now + cool_down };
        Change::Opened(cool_down)
    }
}

#[cfg(test)]
mod tests;
