//! Scripts against one breaker, and what must hold whatever happens.

use proptest::prelude::*;

use super::*;

const JITTER: f64 = 0.999_999;

struct Script {
    breaker: Breaker,
    now: Instant,
}

impl Script {
    fn new() -> Self {
        Self { breaker: Breaker::new(Policy::default()), now: Instant::now() }
    }

    fn attempt(&mut self, outcome: Outcome) -> Option<Change> {
        let pass = self.breaker.admit(self.now).expect("admitted");
        self.breaker.record(pass, outcome, self.now, JITTER)
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn is_closed(&self) -> bool {
        matches!(self.breaker.status(self.now), Status::Closed | Status::Ramping(_))
    }

    /// Three failures in a row.
    fn open(&mut self) -> Duration {
        for _ in 0..2 {
            assert_eq!(self.attempt(Outcome::Failed), None);
        }
        let Some(Change::Opened(cool_down, Reason::Consecutive)) = self.attempt(Outcome::Failed) else {
            panic!("not opened")
        };
        cool_down
    }

    /// Comes back after the cool-down.
    fn come_back(&mut self, cool_down: Duration) {
        self.wait(cool_down.as_secs_f64());
        let _ = self.attempt(Outcome::Answered);
        assert_eq!(self.attempt(Outcome::Answered), Some(Change::Closed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_which_others_had_warned_opens_it_at_once_and_only_good_probes_close_it() {
    let mut script = Script::new();
    assert_eq!(script.breaker.opened_for(), None);
    let opened = script.attempt(Outcome::Confirmed);
    assert!(matches!(opened, Some(Change::Opened(_, Reason::Confirmed))), "{opened:?}");
    script.wait(1.0);
    assert_eq!(script.attempt(Outcome::Answered), None);
    assert_eq!(script.breaker.opened_for(), Some(Reason::Confirmed), "half-open");
    let opened = script.attempt(Outcome::Confirmed);
    assert!(matches!(opened, Some(Change::Opened(_, Reason::Relapse))), "{opened:?}");
    script.wait(2.0);
    let _ = script.attempt(Outcome::Answered);
    assert_eq!(script.attempt(Outcome::Answered), Some(Change::Closed));
    assert_eq!(script.breaker.opened_for(), None);
}

#[tokio::test(start_paused = true)]
async fn three_failures_in_a_row_open_it_and_two_good_probes_close_it() {
    let mut script = Script::new();
    assert_eq!(script.attempt(Outcome::Failed), None);
    assert_eq!(script.attempt(Outcome::Failed), None);
    assert_eq!(script.attempt(Outcome::Answered), None);
    script.open();
    assert!(matches!(script.breaker.admit(script.now), Err(Status::Open(_, Reason::Consecutive))));
    script.wait(1.0);
    let probe = script.breaker.admit(script.now).unwrap();
    assert_eq!(probe.change(), Some(Change::HalfOpen));
    assert!(matches!(script.breaker.admit(script.now), Err(Status::Probing)), "one probe at a time");
    assert_eq!(script.breaker.record(probe, Outcome::Answered, script.now, JITTER), None);
    assert_eq!(script.attempt(Outcome::Answered), Some(Change::Closed));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_slow_is_left_alone_for_longer_each_time_and_comes_back_by_and_by() {
    let mut script = Script::new();
    let mut before = Duration::ZERO;
    for _ in 0..4 {
        let Some(Change::Opened(cool_down, Reason::Slow)) = script.breaker.looks_slow(script.now, JITTER) else {
            panic!("not opened")
        };
        assert!(cool_down > before, "it grows");
        before = cool_down;
        assert_eq!(script.breaker.looks_slow(script.now, JITTER), None, "it is left alone already");
        assert_eq!(script.breaker.looks_alive(), None, "a list of models says nothing of its pace");
        for _ in 0..3 {
            let pass = script.breaker.admit_anyway(script.now);
            assert_eq!(script.breaker.record(pass, Outcome::Answered, script.now, JITTER), None, "nor does an answer");
        }
        script.come_back(cool_down);
        assert!(matches!(script.breaker.status(script.now), Status::Ramping(_)));
        assert_eq!(script.breaker.looks_slow(script.now, JITTER), None, "not while it comes back");
        script.wait(6.0);
    }
    let Some(Change::Opened(first, _)) = Script::new().breaker.looks_slow(script.now, 0.0) else {
        panic!("not opened")
    };
    let Some(Change::Opened(last, _)) = Script::new().breaker.looks_slow(script.now, JITTER) else {
        panic!("not opened")
    };
    assert!(first < last, "with jitter");
}

#[tokio::test(start_paused = true)]
async fn half_of_a_busy_window_opens_it_although_never_three_failed_in_a_row() {
    let mut script = Script::new();
    let mut changes = Vec::new();
    for i in 0..20 {
        script.wait(0.1);
        changes.extend(script.attempt(if i % 2 == 1 { Outcome::Failed } else { Outcome::Answered }));
    }
    assert!(matches!(changes[..], [Change::Opened(_, Reason::Ratio)]), "{changes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_share_of_few_or_of_old_attempts_means_nothing() {
    let mut script = Script::new();
    for i in 0..60 {
        // 15 in the window of 30 s.
        script.wait(2.0);
        assert_eq!(script.attempt(if i % 2 == 1 { Outcome::Failed } else { Outcome::Answered }), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_gets_a_growing_share() {
    let mut script = Script::new();
    let cool_down = script.open();
    script.come_back(cool_down);
    let mut shares = Vec::new();
    for _ in 0..5 {
        shares.push(match script.breaker.status(script.now) {
            Status::Ramping(share) => (share * 100.0).round(),
            _ => 100.0,
        });
        script.wait(1.25);
    }
    assert_eq!(shares, [10.0, 25.0, 50.0, 75.0, 100.0]);
}

#[tokio::test(start_paused = true)]
async fn cool_downs_double_up_to_their_limit_and_begin_anew_only_after_a_quiet_minute() {
    let mut script = Script::new();
    let mut cool_downs = vec![script.open()];
    for _ in 0..5 {
        script.wait(cool_downs.last().unwrap().as_secs_f64());
        let Some(Change::Opened(cool_down, Reason::Relapse)) = script.attempt(Outcome::Failed) else {
            panic!("not opened")
        };
        cool_downs.push(cool_down);
    }
    let seconds: Vec<_> = cool_downs.iter().map(|wait| wait.as_secs_f64().round() as u64).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 15, 15]);
    script.come_back(Duration::from_secs(15));
    script.wait(20.0);
    let flapped = script.open();
    assert!(flapped > Duration::from_secs(14), "a flapping target is not forgiven at once: {flapped:?}");
    script.come_back(flapped);
    script.wait(60.0);
    assert_eq!(script.attempt(Outcome::Answered), None);
    assert!(script.open() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn pressure_of_which_nothing_is_known_rests_longer_each_time_until_something_is_answered() {
    let mut script = Script::new();
    let mut rests = Vec::new();
    for _ in 0..6 {
        let Some(Change::Rests(rest, false)) = script.attempt(Outcome::Pressed(None)) else { panic!("no rest") };
        rests.push(rest.as_secs_f64().round() as u64);
        script.wait(rest.as_secs_f64());
    }
    assert_eq!(rests, [1, 2, 4, 9, 16, 16], "a tenth is jitter");
    assert_eq!(script.attempt(Outcome::Answered), None);
    assert!(matches!(script.attempt(Outcome::Pressed(None)), Some(Change::Rests(rest, _)) if rest.as_secs() == 1));
}

#[tokio::test(start_paused = true)]
async fn active_probes_shorten_a_cool_down_to_probing_and_open_what_is_dead() {
    let mut script = Script::new();
    let change = script.breaker.looks_dead(script.now, JITTER);
    assert!(matches!(change, Some(Change::Opened(_, Reason::Probes))), "{change:?}");
    assert_eq!(script.breaker.looks_dead(script.now, JITTER), None, "it is known");
    assert_eq!(script.breaker.looks_alive(), Some(Change::HalfOpen));
    assert_eq!(script.breaker.looks_alive(), None);
    let _ = script.attempt(Outcome::Answered);
    assert_eq!(script.attempt(Outcome::Answered), Some(Change::Closed));
    assert!(matches!(script.attempt(Outcome::Barred), Some(Change::Opened(_, Reason::Refused))));
    assert_eq!(script.breaker.looks_alive(), None, "a probe does not know whether the credential is taken again");
}

#[tokio::test(start_paused = true)]
async fn pressure_is_a_rest_and_not_death() {
    let mut script = Script::new();
    for _ in 0..5 {
        assert!(matches!(script.attempt(Outcome::Pressed(Some(Duration::from_secs(4)))), Some(Change::Rests(..))));
        assert!(
            matches!(script.breaker.status(script.now), Status::Resting { left, asked: true } if left >= Duration::from_secs(4))
        );
        script.wait(4.5);
        assert!(script.is_closed());
    }
    let Some(Change::Rests(rest, true)) = script.attempt(Outcome::Pressed(Some(Duration::from_secs(3600)))) else {
        panic!()
    };
    assert!(rest <= Duration::from_secs(66), "Retry-After is capped");
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_opens_at_once_for_long() {
    let mut script = Script::new();
    let Some(Change::Opened(cool_down, Reason::Refused)) = script.attempt(Outcome::Barred) else {
        panic!("not opened")
    };
    assert!(cool_down >= Duration::from_secs(14));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_probe_frees_its_place() {
    let mut script = Script::new();
    for _ in 0..3 {
        let _ = script.attempt(Outcome::Failed);
    }
    script.wait(1.0);
    for _ in 0..5 {
        assert_eq!(script.attempt(Outcome::Unknown), None);
    }
    assert!(script.is_closed());
}

#[tokio::test(start_paused = true)]
async fn attempts_from_before_an_opening_say_nothing_after_it() {
    let mut script = Script::new();
    let late: Vec<_> = (0..3).map(|_| script.breaker.admit(script.now).unwrap()).collect();
    for _ in 0..3 {
        let _ = script.attempt(Outcome::Failed);
    }
    let before = script.breaker.status(script.now);
    for pass in late {
        assert_eq!(script.breaker.record(pass, Outcome::Failed, script.now, JITTER), None);
    }
    assert_eq!(script.breaker.status(script.now), before);
}

#[tokio::test(start_paused = true)]
async fn a_last_resort_that_answers_repeatedly_closes_it() {
    let mut script = Script::new();
    script.open();
    for closed in [None, Some(Change::Closed)] {
        let pass = script.breaker.admit_anyway(script.now);
        assert_eq!(script.breaker.record(pass, Outcome::Answered, script.now, JITTER), closed);
    }
}

#[tokio::test(start_paused = true)]
async fn while_probes_fail_no_request_looks_for_a_minute() {
    let mut script = Script::new();
    script.open();
    for _ in 0..11 {
        script.breaker.stays_dead(script.now + Duration::from_secs(11));
        script.wait(5.0);
        assert!(!script.is_closed());
    }
    script.breaker.stays_dead(script.now + Duration::from_secs(11));
    script.wait(5.0);
    assert!(script.is_closed(), "probes may be wrong: a request looks once a minute");
    script.breaker.stays_dead(script.now + Duration::from_secs(11));
    script.come_back(Duration::ZERO);
    script.breaker.stays_dead(script.now + Duration::from_secs(11));
    assert!(script.is_closed(), "a probe that failed late says nothing about one that serves");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_looks_while_probes_fail_is_the_last_until_they_have_said_more() {
    let mut script = Script::new();
    script.open();
    script.wait(1.0);
    let looks = script.breaker.admit(script.now).unwrap();
    // The request is met with silence, and so is a probe meanwhile.
    script.wait(5.0);
    script.breaker.stays_dead(script.now + Duration::from_secs(11));
    script.wait(5.0);
    assert!(script.breaker.record(looks, Outcome::Failed, script.now, 0.0).is_some());
    script.wait(5.9);
    assert!(!script.is_closed());
    script.wait(0.2);
    assert!(script.is_closed(), "no probe has said more");
}

#[tokio::test(start_paused = true)]
async fn good_probes_end_what_bad_ones_made_longer() {
    let mut script = Script::new();
    script.open();
    script.breaker.stays_dead(script.now + Duration::from_secs(30));
    assert_eq!(script.breaker.looks_alive(), Some(Change::HalfOpen));
    script.come_back(Duration::ZERO);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Admit,
    StaysDead(u64),
    Finish(Outcome),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        Just(Outcome::Answered),
        Just(Outcome::Failed),
        Just(Outcome::Confirmed),
        Just(Outcome::Barred),
        Just(Outcome::Unknown),
        (0u64..5000).prop_map(|ms| Outcome::Pressed(Some(Duration::from_millis(ms)))),
    ];
    let step = prop_oneof![
        3 => Just(Step::Admit),
        3 => outcome.prop_map(Step::Finish),
        1 => (0u64..20_000).prop_map(Step::Wait),
        1 => (0u64..100_000).prop_map(Step::StaysDead),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn it_always_comes_back_within_the_longest_rest(steps in steps(), unit in 0.0f64..1.0) {
        let policy = Policy::default();
        let mut breaker = Breaker::new(policy);
        let mut now = Instant::now();
        let mut open = Vec::new();
        for step in steps {
            match step {
                Step::Admit => open.extend(breaker.admit(now).ok()),
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::StaysDead(ms) => breaker.stays_dead(now + Duration::from_millis(ms)),
                Step::Finish(outcome) => if let Some(pass) = open.pop() {
                    let _ = breaker.record(pass, outcome, now, unit);
                },
            }
        }
        for pass in open.drain(..) {
            let _ = breaker.record(pass, Outcome::Unknown, now, unit);
        }
        now += policy.max_rest.mul_f64(1.1) + policy.max_cool_down;
        prop_assert!(matches!(breaker.status(now), Status::Closed | Status::Ramping(_)));
    }

    #[test]
    fn while_it_comes_back_no_more_than_its_probes_are_under_way(steps in steps(), unit in 0.0f64..1.0) {
        let policy = Policy { probes: 2, ..Policy::default() };
        let mut breaker = Breaker::new(policy);
        let mut now = Instant::now();
        let mut probes = Vec::new();
        for step in steps {
            match step {
                Step::Admit => if let Ok(pass) = breaker.admit(now) {
                    probes.push(pass);
                },
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::StaysDead(ms) => breaker.stays_dead(now + Duration::from_millis(ms)),
                Step::Finish(outcome) => if !probes.is_empty() {
                    let _ = breaker.record(probes.remove(0), outcome, now, unit);
                },
            }
            if matches!(breaker.state, State::HalfOpen { .. }) {
                let current = probes.iter().filter(|pass| pass.probe && pass.generation == breaker.generation);
                prop_assert!(current.count() <= 2);
            }
        }
    }
}
