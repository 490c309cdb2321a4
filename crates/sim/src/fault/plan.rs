//! The faults of one request, merged: each aspect of the answer has one value at most.

use std::time::Duration;

use super::{ErrorAnswer, ErrorKind, Fault, Latency};

/// What happens to one answer. Of two faults about the same aspect the one applied last wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) latency: Option<Duration>,
    pub(crate) first_token: Option<(Duration, Option<Duration>)>,
    pub(crate) gap: Option<(Duration, Option<Duration>)>,
    pub(crate) no_answer: Option<NoAnswer>,
    pub(crate) error: Option<ErrorAnswer>,
    pub(crate) incident: Option<Incident>,
    pub(crate) bad_json: bool,
    pub(crate) wrong_length: Option<i64>,
    pub(crate) no_done: bool,
    pub(crate) bytes_per_s: Option<u32>,
    pub(crate) emoji: Option<(u32, bool)>,
    pub(crate) prompt_filter: bool,
    pub(crate) reject_prefill: bool,
    pub(crate) refusal: Option<u32>,
}

/// The request gets no answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    Hang,
    Break(Broken),
}

/// How the simulator breaks a connection off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Close,
    Reset,
    Garbage,
}

/// Something that happens once, in the middle of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incident {
    pub(crate) after: u32,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Stall(Option<Duration>),
    Cut(Broken),
    End,
    NoFinish,
    BadSse,
    Truncate,
    Error(ErrorKind),
}

impl Plan {
    /// Adds a fault. `age` is the time since it was set, for ramps.
    pub(crate) fn add(&mut self, fault: &Fault, age: Duration) {
        let mut incident = |after: &u32, what| self.incident = Some(Incident { after: *after, what });
        match fault {
            Fault::Stall { after, pause } => incident(after, What::Stall(*pause)),
            Fault::Cut { after, reset } => {
                incident(after, What::Cut(if *reset { Broken::Reset } else { Broken::Close }));
            }
            Fault::End { after } => incident(after, What::End),
            Fault::NoFinish { after } => incident(after, What::NoFinish),
            Fault::BadSse { after } => incident(after, What::BadSse),
            Fault::Truncate { after } => incident(after, What::Truncate),
            Fault::ErrorEvent { after, kind } => incident(after, What::Error(*kind)),
            Fault::Latency(latency) => self.latency = Some(latency.at(age)),
            Fault::FirstToken { delay, ping_every } => self.first_token = Some((*delay, *ping_every)),
            Fault::Gap { pause, ping_every } => self.gap = Some((*pause, *ping_every)),
            Fault::Error(error) => self.error = Some(error.clone()),
            Fault::Refuse => self.no_answer = Some(NoAnswer::Break(Broken::Reset)),
            Fault::Empty => self.no_answer = Some(NoAnswer::Break(Broken::Close)),
            Fault::Garbage => self.no_answer = Some(NoAnswer::Break(Broken::Garbage)),
            Fault::Hang => self.no_answer = Some(NoAnswer::Hang),
            Fault::BadJson => self.bad_json = true,
            Fault::NoDone => self.no_done = true,
            Fault::WrongLength { delta } => self.wrong_length = Some(*delta),
            Fault::Drip { bytes_per_s } => self.bytes_per_s = Some(*bytes_per_s),
            Fault::Emoji { after, surrogates } => self.emoji = Some((*after, *surrogates)),
            Fault::PromptFilter => self.prompt_filter = true,
            Fault::RejectPrefill => self.reject_prefill = true,
            Fault::Refusal { after } => self.refusal = Some(*after),
        }
    }
}

impl Latency {
    /// The delay when the fault is `age` old.
    fn at(&self, age: Duration) -> Duration {
        match self {
            Self::Fixed(delay) => *delay,
            Self::Ramp { to, over, .. } if age >= *over => *to,
            Self::Ramp { from, to, over } => {
                let share = age.as_secs_f64() / over.as_secs_f64();
                let seconds = from.as_secs_f64() + (to.as_secs_f64() - from.as_secs_f64()) * share;
                Duration::from_secs_f64(seconds.max(0.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_linear_and_then_constant() {
        let ramp: Fault = "latency;from_ms=100;to_ms=300;over_ms=1000".parse().unwrap();
        for (age_ms, expected_ms) in [(0, 100), (500, 200), (1000, 300), (9000, 300)] {
            let mut plan = Plan::default();
            plan.add(&ramp, Duration::from_millis(age_ms));
            assert_eq!(plan.latency, Some(Duration::from_millis(expected_ms)));
        }
    }

    #[test]
    fn the_last_fault_about_an_aspect_wins_and_the_others_stay() {
        let mut plan = Plan::default();
        for fault in super::super::parse_specs("gap;ms=5,cut;after=3,no_done,end;after=9").unwrap() {
            plan.add(&fault, Duration::ZERO);
        }
        assert_eq!(plan.incident, Some(Incident { after: 9, what: What::End }));
        assert!(plan.no_done);
        assert_eq!(plan.gap, Some((Duration::from_millis(5), None)));
    }
}
