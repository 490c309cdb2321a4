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
        self.breaker.status(self.now) == Status::Closed
    }
}

#[tokio::test(start_paused = true)]
async fn three_failures_in_a_row_open_it_and_two_good_probes_close_it() {
    let mut script = Script::new();
    assert_eq!(script.attempt(Outcome::Failed), None);
    assert_eq!(script.attempt(Outcome::Failed), None);
    assert_eq!(script.attempt(Outcome::Answered), None);
    assert_eq!(script.attempt(Outcome::Failed), None);
    assert_eq!(script.attempt(Outcome::Failed), None);
    assert!(matches!(script.attempt(Outcome::Failed), Some(Change::Opened(_))));
    assert!(matches!(script.breaker.admit(script.now), Err(Status::Open(_))));
    script.wait(1.0);
    let probe = script.breaker.admit(script.now).unwrap();
    assert!(matches!(script.breaker.admit(script.now), Err(Status::Probing)), "one probe at a time");
    assert_eq!(script.breaker.record(probe, Outcome::Answered, script.now, JITTER), None);
    assert_eq!(script.attempt(Outcome::Answered), Some(Change::Closed));
}

#[tokio::test(start_paused = true)]
async fn cool_downs_double_up_to_their_limit_and_start_again_after_a_closing() {
    let mut script = Script::new();
    let mut cool_downs = Vec::new();
    for _ in 0..2 {
        let _ = script.attempt(Outcome::Failed);
    }
    for _ in 0..6 {
        let Some(Change::Opened(cool_down)) = script.attempt(Outcome::Failed) else { panic!("not opened") };
        cool_downs.push(cool_down.as_secs_f64().round() as u64);
        script.wait(cool_down.as_secs_f64());
    }
    assert_eq!(cool_downs, [1, 2, 4, 8, 15, 15]);
    let _ = script.attempt(Outcome::Answered);
    assert_eq!(script.attempt(Outcome::Answered), Some(Change::Closed));
    for _ in 0..2 {
        let _ = script.attempt(Outcome::Failed);
    }
    let Some(Change::Opened(again)) = script.attempt(Outcome::Failed) else { panic!("not opened") };
    assert!(again <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn pressure_is_a_rest_and_not_death() {
    let mut script = Script::new();
    for _ in 0..5 {
        assert!(matches!(script.attempt(Outcome::Pressed(Some(Duration::from_secs(4)))), Some(Change::Rests(_))));
        assert!(
            matches!(script.breaker.status(script.now), Status::Resting { left, asked: true } if left >= Duration::from_secs(4))
        );
        script.wait(4.5);
        assert!(script.is_closed());
    }
    let Some(Change::Rests(rest)) = script.attempt(Outcome::Pressed(Some(Duration::from_secs(3600)))) else { panic!() };
    assert!(rest <= Duration::from_secs(66), "Retry-After is capped");
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_opens_at_once_for_long() {
    let mut script = Script::new();
    let Some(Change::Opened(cool_down)) = script.attempt(Outcome::Barred) else { panic!("not opened") };
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
async fn a_last_resort_that_answers_closes_it() {
    let mut script = Script::new();
    for _ in 0..3 {
        let _ = script.attempt(Outcome::Failed);
    }
    let pass = script.breaker.admit_anyway(script.now);
    assert_eq!(script.breaker.record(pass, Outcome::Answered, script.now, JITTER), Some(Change::Closed));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Admit,
    Finish(Outcome),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        Just(Outcome::Answered),
        Just(Outcome::Failed),
        Just(Outcome::Barred),
        Just(Outcome::Unknown),
        (0u64..5000).prop_map(|ms| Outcome::Pressed(Some(Duration::from_millis(ms)))),
    ];
    let step = prop_oneof![
        3 => Just(Step::Admit),
        3 => outcome.prop_map(Step::Finish),
        1 => (0u64..20_000).prop_map(Step::Wait),
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
                Step::Finish(outcome) => if let Some(pass) = open.pop() {
                    let _ = breaker.record(pass, outcome, now, unit);
                },
            }
        }
        for pass in open.drain(..) {
            let _ = breaker.record(pass, Outcome::Unknown, now, unit);
        }
        now += policy.max_rest.mul_f64(1.1) + policy.max_cool_down;
        prop_assert_eq!(breaker.status(now), Status::Closed);
    }
}
