//! One attempt under way: what it holds at its target, and what its outcome says of the target and of the credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meridian_llm::{Failure, FailureClass};
use meridian_resilience::{Blame, Change, Habit, Outcome, Pass};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::account::Account;
use crate::source::is_haste;
use crate::target::{State, Target, Took};

/// So long a stream that decides whether its target is back has to go on, unless it ends sooner: time for some hundred tokens.
/// Its first content alone says little, because targets have been seen to begin streams that they cannot end.
const PROVEN: Duration = Duration::from_secs(5);

/// Places at a provider and at a target. Dropped without an outcome, the attempt was cancelled, and nothing is learned
/// from it but what [`Ticket::given_up`] tells.
pub(crate) struct Ticket {
    target: Arc<Target>,
    account: Arc<Account>,
    passes: Option<Passes>,
    began: Instant,
    /// What has not come yet; `None` also where it says nothing that it does not.
    awaited: Option<Awaited>,
    /// When a stream began that decides whether the target is back; `None`: it does not, or has.
    on_trial: Option<Instant>,
    /// An injected fault strikes it: what comes of it is not the upstream's doing.
    struck: AtomicBool,
    _slot: OwnedSemaphorePermit,
}

/// What an attempt waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The first content of a stream.
    Stream,
    /// All of an answer.
    Whole,
}

impl Awaited {
    fn habit(self, of: &mut State) -> &mut Habit {
        match self {
            Self::Stream => &mut of.stream_habit,
            Self::Whole => &mut of.whole_habit,
        }
    }
}

struct Passes {
    target: Pass,
    credential: Pass,
}

impl Passes {
    fn of(account: &Account, target: &Target) -> Option<Self> {
        let now = Instant::now();
        let mut state = target.state();
        let pass = state.breaker.admit(now).ok()?;
        let Some(credential) = account.admit() else {
            let _ = state.breaker.record(pass, Outcome::Unknown, now, 0.0);
            return None;
        };
        Some(Self { target: pass, credential })
    }

    fn anyway(account: &Account, target: &Target) -> Self {
        let target = target.state().breaker.admit_anyway(Instant::now());
        Self { target, credential: account.admit_anyway() }
    }
}

/// What changed by an outcome.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) target: Option<Change>,
    pub(crate) credential: Option<Change>,
}

impl Ticket {
    /// Begins an attempt; `None` if there is no place, or if a breaker says no by now. A `last_resort` passes breakers.
    pub(crate) fn begin(account: &Arc<Account>, target: &Arc<Target>, last_resort: bool) -> Option<(Self, Changes)> {
        let slot = account.take_slot()?;
        let passes = match last_resort {
            true => Passes::anyway(account, target),
            false => Passes::of(account, target)?,
        };
        target.state().attempts += 1;
        target.in_flight.fetch_add(1, Ordering::Relaxed);
        let (target, account) = (Arc::clone(target), Arc::clone(account));
        let changes = Changes { target: passes.target.change(), credential: passes.credential.change() };
        let (began, struck) = (Instant::now(), AtomicBool::new(false));
        let passes = Some(passes);
        let ticket = Self { target, account, passes, began, awaited: None, on_trial: None, struck, _slot: slot };
        Some((ticket, changes))
    }

    /// What it waits for, so that it can be late.
    pub(crate) fn awaits(&mut self, awaited: Awaited) {
        self.awaited = Some(awaited);
    }

    /// When the attempt began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// How long the target usually takes for what is awaited, as far as that is known.
    pub(crate) fn usual(&self) -> Option<Duration> {
        self.awaited?.habit(&mut self.target.state()).usual()
    }

    /// An injected fault strikes it.
    pub(crate) fn strike(&self) {
        self.struck.store(true, Ordering::Relaxed);
    }

    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// It answered, or began to; if it generates, `took` says how fast. `unit` is random in `[0, 1)`.
    pub(crate) fn answered(&mut self, took: Option<Took>, unit: f64) -> Changes {
        {
            let mut state = self.target.state();
            state.found_up();
            if let Some(took) = took {
                state.took(took);
            }
            if let Some(awaited) = self.awaited.take() {
                awaited.habit(&mut state).answered(self.began.elapsed(), Instant::now());
            }
        }
        self.account.deposit();
        let is_begun = matches!(took, Some(Took::FirstToken(_)));
        if is_begun && self.passes.as_ref().is_some_and(|passes| passes.target.is_probe()) {
            self.on_trial = Some(Instant::now());
            return Changes::default();
        }
        self.record(Blame::ANSWERED, unit)
    }

    /// Whether it is still to be told how the stream goes on, by [`Ticket::goes_on`].
    pub(crate) fn is_on_trial(&self) -> bool {
        self.on_trial.is_some()
    }

    /// More of the stream came, or all of it.
    pub(crate) fn goes_on(&mut self, is_whole: bool, unit: f64) -> Changes {
        match self.on_trial {
            Some(begun) if is_whole || begun.elapsed() >= PROVEN => {
                self.on_trial = None;
                self.record(Blame::ANSWERED, unit)
            }
            _ => Changes::default(),
        }
    }

    /// It failed; also after content had come. `again`: the target has failed this request before. A client whose time was
    /// over says nothing about the target, unless that was late by its own measure.
    pub(crate) fn failed(&mut self, failure: &Failure, again: bool, unit: f64) -> Changes {
        let awaited = self.awaited.take().filter(|_| is_haste(failure));
        let is_late = |awaited: Awaited| awaited.habit(&mut self.target.state()).is_late(self.began, Instant::now());
        let (class, blame) = match awaited.is_some_and(is_late) {
            true => (FailureClass::Transport, Blame::SILENT),
            false => (failure.class, Blame::of(failure)),
        };
        {
            let mut state = self.target.state();
            *state.failures.entry(class).or_default() += 1;
            if matches!(blame.target, Outcome::Pressed(_)) {
                state.pressed(failure.status);
            }
        }
        let blame = self.found(if again { blame.repeated() } else { blame });
        self.on_trial = None;
        // They were given back when content came: the failure is news.
        self.passes.get_or_insert_with(|| Passes::anyway(&self.account, &self.target));
        self.record(blame, unit)
    }

    /// It is dropped before its outcome: another was faster (`outrun`), or its client left. Silence that was too long by then
    /// is a failure.
    pub(crate) fn given_up(&self, outrun: bool, unit: f64) -> Changes {
        let Some(awaited) = self.awaited else { return Changes::default() };
        let (now, waited) = (Instant::now(), self.began.elapsed());
        {
            let mut state = self.target.state();
            let habit = awaited.habit(&mut state);
            let late = if outrun { habit.is_late(self.began, now) } else { habit.was_left_late(self.began, now) };
            if !late {
                if outrun && awaited == Awaited::Stream {
                    // It would have taken longer still; left out, a slow target would look fast.
                    state.waited(waited);
                }
                return Changes::default();
            }
            *state.failures.entry(FailureClass::Transport).or_default() += 1;
        }
        let blame = self.found(Blame::SILENT);
        self.tell(Passes::anyway(&self.account, &self.target), blame, unit)
    }

    /// Notes what a failure says of the upstream, and believes others who have said so before.
    fn found(&self, blame: Blame) -> Blame {
        if self.struck.load(Ordering::Relaxed) {
            return blame;
        }
        if blame.credential == Outcome::Barred {
            self.account.refused();
        }
        let mut state = self.target.state();
        match blame.target {
            Outcome::Failed => {
                state.found_down();
                let target = if state.is_suspect() { Outcome::Confirmed } else { Outcome::Failed };
                return Blame { target, ..blame };
            }
            Outcome::Barred => state.found_down(),
            // It says no to this request, and yes to others.
            Outcome::Answered => state.found_up(),
            _ => {}
        }
        blame
    }

    fn record(&mut self, blame: Blame, unit: f64) -> Changes {
        self.passes.take().map(|passes| self.tell(passes, blame, unit)).unwrap_or_default()
    }

    fn tell(&self, passes: Passes, blame: Blame, unit: f64) -> Changes {
        let target = self.target.state().breaker.record(passes.target, blame.target, Instant::now(), unit);
        Changes { target, credential: self.account.record(passes.credential, blame.credential, unit) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.record(Blame { target: Outcome::Unknown, credential: Outcome::Unknown }, 0.0);
    }
}

#[cfg(test)]
mod outage;
#[cfg(test)]
mod tests;
