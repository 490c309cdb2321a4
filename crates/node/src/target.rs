//! One target's health and statistics on this node. They outlive configurations.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meridian_llm::FailureClass;
use meridian_proto::convert;
use meridian_proto::node::v1;
use meridian_resilience::{Breaker, FirstTokens, Habit, Policy, Reason, Status};
use meridian_routing::{Availability, Cause, Load, Pace, PeakEwma, TargetId};
use meridian_types::LatencySketch;
use meridian_upstream::CredentialError;
use tokio::time::Instant;

use crate::account::Account;
use crate::switches::WHY;

/// What was found of an upstream is of use for so long: beyond the longest cool-down, so that one which is asked at the end
/// of each is still known to be down in between.
const FINDING_LIFE: Duration = Duration::from_secs(60);

/// An answer younger than this is worth more than the word of others.
const OWN_WORD: Duration = Duration::from_secs(10);

/// One target.
pub(crate) struct Target {
    pub(crate) id: TargetId,
    pub(crate) in_flight: AtomicU32,
    state: Mutex<State>,
}

/// What changes with every attempt.
pub(crate) struct State {
    pub(crate) breaker: Breaker,
    pub(crate) attempts: u64,
    pub(crate) failures: BTreeMap<FailureClass, u64>,
    /// Of streams: a whole answer begins when it ends.
    pub(crate) first_tokens: FirstTokens,
    /// How long its streams take to begin ...
    pub(crate) stream_habit: Habit,
    /// ... and its whole answers to be there.
    pub(crate) whole_habit: Habit,
    /// First tokens since the last report.
    unreported: LatencySketch,
    /// Of streams to their first content, and of whole answers to their end: two things that are not to be compared.
    streams: Sampled,
    wholes: Sampled,
    /// Under which status it last asked to be left alone.
    pressed: Option<u16>,
    /// When the upstream last answered.
    answered: Option<Instant>,
    /// When an attempt or a probe last found it down; what an injected fault struck found nothing.
    found_down: Option<Instant>,
    /// Until then others are known to find it down.
    warned_until: Option<Instant>,
}

/// A moving average, and when it was last sampled.
struct Sampled {
    average: PeakEwma,
    at: Instant,
}

impl Sampled {
    fn new() -> Self {
        Self { average: PeakEwma::default(), at: Instant::now() }
    }

    fn add(&mut self, took: Duration) {
        let now = Instant::now();
        self.average.observe(took, now.saturating_duration_since(self.at));
        self.at = now;
    }

    fn pace(&self) -> Option<Pace> {
        self.average.pace(self.at.elapsed())
    }
}

/// How long the target took to answer, counted from the begin of the attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Took {
    /// To a stream's first content.
    FirstToken(Duration),
    /// To the end of an answer that is not streamed.
    Whole(Duration),
}

impl State {
    /// A stream's first content was waited for so long, at least.
    pub(crate) fn waited(&mut self, first_token: Duration) {
        self.first_tokens.add(first_token, Instant::now());
        self.unreported.add(first_token);
    }

    /// It answered a request that generates.
    pub(crate) fn took(&mut self, took: Took) {
        match took {
            Took::FirstToken(first_token) => {
                self.waited(first_token);
                self.streams.add(first_token);
            }
            Took::Whole(took) => self.wholes.add(took),
        }
    }

    /// It is under pressure, and said so with this status.
    pub(crate) fn pressed(&mut self, status: Option<u16>) {
        self.pressed = status;
    }

    /// The upstream answered.
    pub(crate) fn found_up(&mut self) {
        self.answered = Some(Instant::now());
    }

    /// The upstream itself failed.
    pub(crate) fn found_down(&mut self) {
        self.found_down = Some(Instant::now());
    }

    /// Others find it down, as far as is known until `until`; `None`: they do not.
    pub(crate) fn warn(&mut self, until: Option<Instant>) {
        self.warned_until = until;
    }

    /// Whether one failure is enough to believe what others say of it: while it serves us they may be wrong, or far away.
    pub(crate) fn is_suspect(&self) -> bool {
        let now = Instant::now();
        self.warned_until.is_some_and(|until| now < until) && !is_young(self.answered, OWN_WORD)
    }
}

impl Target {
    pub(crate) fn new(id: TargetId) -> Self {
        let breaker = Breaker::new(Policy::default());
        let state = State {
            breaker,
            attempts: 0,
            failures: BTreeMap::new(),
            first_tokens: FirstTokens::default(),
            stream_habit: Habit::default(),
            whole_habit: Habit::default(),
            unreported: LatencySketch::default(),
            streams: Sampled::new(),
            wholes: Sampled::new(),
            pressed: None,
            answered: None,
            found_down: None,
            warned_until: None,
        };
        Self { id, in_flight: AtomicU32::new(0), state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For planning: of target and credential the worse one counts.
    pub(crate) fn availability(&self, account: &Account) -> Availability {
        let own = self.state().breaker.status(Instant::now());
        worse(seen(own), seen(account.credential_status()))
    }

    /// Whether it has failed and has not come back yet; a refused credential, pressure and slowness are no matter for probes.
    pub(crate) fn is_ejected(&self) -> bool {
        let reason = self.state().breaker.opened_for();
        reason.is_some_and(|reason| !matches!(reason, Reason::Refused | Reason::Slow))
    }

    /// What it is doing, as far as it concerns requests that are streamed, or are not.
    pub(crate) fn load(&self, streamed: bool) -> Load {
        let pace = {
            let state = self.state();
            if streamed { state.streams.pace() } else { state.wholes.pace() }
        };
        Load { pace, in_flight: self.in_flight.load(Ordering::Relaxed) }
    }

    /// Under which status it last asked to be left alone.
    pub(crate) fn pressed_with(&self) -> Option<u16> {
        self.state().pressed
    }

    /// What is known of the upstream from here, whatever others say of it.
    fn finding(&self, account: Option<&Account>, missing: Option<&CredentialError>) -> Option<v1::TargetFinding> {
        let down = |why: String| Some(v1::TargetFinding { down: true, why });
        if let Some(error) = missing {
            return down(format!("no credential: {error}"));
        }
        if account.is_some_and(|account| account.is_refused(FINDING_LIFE)) {
            return down(why(Reason::Refused).to_owned());
        }
        let state = self.state();
        match state.breaker.opened_for() {
            // It serves some, or all of them late.
            Some(Reason::Ratio | Reason::Slow) => None,
            Some(reason) if is_young(state.found_down, FINDING_LIFE) => down(why(reason).to_owned()),
            None if is_young(state.answered, FINDING_LIFE) => {
                Some(v1::TargetFinding { down: false, why: String::new() })
            }
            _ => None,
        }
    }

    /// Its part of a report; counts start anew. One that is switched off is not asked, so that nothing is found of it.
    pub(crate) fn report(&self, account: Option<&Account>, is_off: bool) -> v1::TargetReport {
        let credential = account.map_or(Status::Closed, Account::credential_status);
        let missing = account.and_then(|account| account.upstream.credential().err());
        // What has not been looked at is not known to be missing.
        let missing = missing.filter(|error| !matches!(error, CredentialError::Unread(_)));
        let finding = if is_off { None } else { self.finding(account, missing.as_ref()) };
        let mut state = self.state();
        let (available, reason) = match (missing, state.breaker.status(Instant::now()), credential) {
            _ if is_off => (false, WHY.to_owned()),
            // Before the breakers, which only know that attempts fail.
            (Some(error), _, _) => (false, format!("no credential: {error}")),
            (None, _, Status::Open(left, _)) => {
                (false, format!("credential refused; left alone for {} ms", left.as_millis()))
            }
            (None, Status::Closed, _) => (true, String::new()),
            (None, Status::Ramping(share), _) => (true, format!("coming back: {:.0} % of its share", share * 100.0)),
            (None, Status::Probing, _) => (true, "coming back: one probe at a time".to_owned()),
            (None, Status::Open(left, reason), _) => {
                (false, format!("{}; left alone for {} ms", why(reason), left.as_millis()))
            }
            (None, Status::Resting { left, .. }, _) => {
                (false, format!("under pressure; left alone for {} ms", left.as_millis()))
            }
        };
        let failures = std::mem::take(&mut state.failures);
        v1::TargetReport {
            provider: self.id.provider.to_string(),
            model: self.id.model.to_string(),
            attempts: std::mem::take(&mut state.attempts),
            failures: failures
                .into_iter()
                .map(|(class, count)| v1::ClassCount { class: class.as_str().to_owned(), count })
                .collect(),
            first_token_ewma_ms: state.streams.pace().map(|pace| pace.ms).unwrap_or_default(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            available,
            reason,
            first_tokens: convert::latencies_to_wire(&std::mem::take(&mut state.unreported)),
            finding,
        }
    }
}

fn is_young(at: Option<Instant>, life: Duration) -> bool {
    at.is_some_and(|at| at.elapsed() < life)
}

/// For people.
fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Consecutive | Reason::Relapse => "failed repeatedly",
        Reason::Confirmed => "failed, as in other regions",
        Reason::Ratio => "fails too often",
        Reason::Refused => "refuses the credential",
        Reason::Probes => "does not answer probes",
        Reason::Slow => "begins its answers far later than its peers",
    }
}

/// A breaker's state in the words of planning.
fn seen(status: Status) -> Availability {
    match status {
        Status::Closed => Availability::Available,
        Status::Ramping(share) => Availability::Ramping(share),
        Status::Open(left, Reason::Ratio | Reason::Slow) => Availability::Cooling(left, Cause::Suspected),
        Status::Open(left, _) => Availability::Cooling(left, Cause::Failed),
        Status::Resting { left, asked } => {
            Availability::Cooling(left, if asked { Cause::Asked } else { Cause::Failed })
        }
        // The probe under way decides within about a first token's time.
        Status::Probing => Availability::Cooling(Duration::from_secs(1), Cause::Failed),
    }
}

/// Of two the worse one. Who has asked to be left alone is, whatever else is wrong.
fn worse(a: Availability, b: Availability) -> Availability {
    use Availability::{Available, Cooling, Ramping};
    match (a, b) {
        (Cooling(one, first), Cooling(other, second)) => {
            let longer = if one < other { second } else { first };
            let asked = first == Cause::Asked || second == Cause::Asked;
            Cooling(one.max(other), if asked { Cause::Asked } else { longer })
        }
        (Cooling(..), _) => a,
        (_, Cooling(..)) => b,
        (Ramping(one), Ramping(other)) => Ramping(one.min(other)),
        (Ramping(_), Available) => a,
        (Available, _) => b,
    }
}
