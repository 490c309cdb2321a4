//! What outcomes do to a target and to a credential, and what a report says of it.

use meridian_host::Host;
use meridian_llm::FailureClass;
use meridian_proto::convert;
use meridian_proto::node::v1;
use meridian_resilience::Reason;
use meridian_routing::{Availability, Cause, TargetId};
use meridian_types::provider::{DEFAULT_MAX_IN_FLIGHT, Deadlines, Probe, ProbeKind};
use meridian_types::{LatencySketch, Provider};
use meridian_upstream::{Options, Transport, Upstream};

use super::*;
use crate::switches::WHY;

struct Bench {
    account: Arc<Account>,
    target: Arc<Target>,
    /// Another model of the same provider.
    sibling: Arc<Target>,
}

pub(super) fn provider(name: &str) -> Provider {
    Provider {
        name: name.parse().unwrap(),
        codec: "openai_compatible".into(),
        base_url: format!("http://{name}.example/v1"),
        credential: None,
        jurisdiction: "US".parse().unwrap(),
        max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        deadlines: Deadlines::default(),
        probe: None,
        token_limit: None,
    }
}

pub(super) async fn account(provider: &Provider) -> Arc<Account> {
    let options = Options { host: Host::real(), egress_address: None, extra_ca: None };
    let transport = Transport::new(options).await.unwrap();
    let codec = meridian_providers::find(&provider.codec).unwrap();
    Arc::new(Account::new(Upstream::new(&transport, provider.clone(), codec).unwrap()))
}

async fn bench() -> Bench {
    let provider = provider("p");
    let target = |model: &str| {
        Arc::new(Target::new(TargetId { provider: provider.name.clone(), model: model.parse().unwrap() }))
    };
    Bench { account: account(&provider).await, target: target("m"), sibling: target("n") }
}

impl Bench {
    fn begin(&self) -> Option<Ticket> {
        Ticket::begin(&self.account, &self.target, false).map(|(ticket, _)| ticket)
    }

    fn fail(&self, class: FailureClass, status: Option<u16>) -> Changes {
        let failure = Failure { status, ..Failure::new(class, "test") };
        self.begin().expect("available").failed(&failure, false, 0.5)
    }

    fn is_available(&self, target: &Target) -> bool {
        target.availability(&self.account) == Availability::Available
    }
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_the_requests_own_never_close_the_door() {
    let bench = bench().await;
    for class in [FailureClass::Client, FailureClass::Refusal, FailureClass::ContextLength, FailureClass::Cancelled] {
        for _ in 0..10 {
            bench.fail(class, Some(400));
        }
        assert!(bench.is_available(&bench.target), "{}", class.as_str());
    }
    for _ in 0..3 {
        bench.fail(FailureClass::Transport, None);
    }
    assert!(!bench.is_available(&bench.target));
    assert!(bench.is_available(&bench.sibling), "another model of the provider may be well");
    assert!(bench.begin().is_none());
    assert!(Ticket::begin(&bench.account, &bench.target, true).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_repeatedly_counts_once() {
    let bench = bench().await;
    let failure = Failure::new(FailureClass::Transport, "test");
    for again in [false, true, true, true, true] {
        let _ = bench.begin().expect("available").failed(&failure, again, 0.5);
    }
    assert!(bench.is_available(&bench.target));
    assert_eq!(bench.target.report(None, false).failures[0].count, 5, "the report counts attempts");
}

/// A stream that a target begins while its breaker is half-open.
async fn on_trial(bench: &Bench) -> Ticket {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(mut ticket) = bench.begin() {
            let begun = ticket.answered(Some(Took::FirstToken(Duration::from_millis(80))), 0.5);
            assert_eq!(begun, Changes::default());
            assert!(ticket.is_on_trial());
            return ticket;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        waited += Duration::from_secs(1);
        assert!(waited < Duration::from_secs(120), "it is left alone for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_whose_streams_begin_and_then_die_is_not_back() {
    let bench = bench().await;
    for _ in 0..3 {
        bench.fail(FailureClass::Transport, None);
    }
    for _ in 0..5 {
        let mut ticket = on_trial(&bench).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(ticket.goes_on(false, 0.5), Changes::default(), "too soon to say");
        let changes = ticket.failed(&Failure::new(FailureClass::Transport, "test"), false, 0.5);
        assert!(matches!(changes.target, Some(Change::Opened(_, Reason::Relapse))), "{changes:?}");
    }
    // Whole, or for long enough: either will do, and whose client leaves says nothing.
    drop(on_trial(&bench).await);
    assert_eq!(on_trial(&bench).await.goes_on(true, 0.5), Changes::default(), "one is not enough");
    let mut last = on_trial(&bench).await;
    tokio::time::advance(PROVEN).await;
    assert_eq!(last.goes_on(false, 0.5).target, Some(Change::Closed));
    assert!(!last.is_on_trial());
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_bars_every_target_of_the_provider_until_it_changes() {
    let bench = bench().await;
    let changes = bench.fail(FailureClass::Credential, Some(401));
    assert!(
        matches!(changes, Changes { target: None, credential: Some(Change::Opened(_, Reason::Refused)) }),
        "{changes:?}"
    );
    assert!(!bench.is_available(&bench.target) && !bench.is_available(&bench.sibling));
    let reason = bench.sibling.report(Some(&bench.account), false).reason;
    assert!(reason.starts_with("credential refused"), "{reason}");
    bench.account.credential_changed();
    assert!(bench.is_available(&bench.target) && bench.is_available(&bench.sibling));
}

#[tokio::test(start_paused = true)]
async fn a_credential_is_tried_again_by_itself_with_one_request() {
    let bench = bench().await;
    bench.fail(FailureClass::Credential, Some(402));
    tokio::time::advance(Duration::from_secs(30)).await;
    let mut probe = bench.begin().expect("one may look");
    assert!(Ticket::begin(&bench.account, &bench.sibling, false).is_none(), "one, not all");
    assert_eq!(probe.answered(Some(Took::Whole(Duration::from_millis(80))), 0.5).credential, Some(Change::Closed));
    assert!(bench.is_available(&bench.sibling));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_the_credential_may_not_use_bars_that_target_only() {
    let bench = bench().await;
    bench.fail(FailureClass::Credential, Some(403));
    assert!(!bench.is_available(&bench.target));
    assert!(bench.is_available(&bench.sibling));
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_probed_when_a_target_was_ejected_and_from_then_on_at_its_interval() {
    let mut provider = provider("p");
    for (interval, needed, seconds) in
        [(None, false, None), (None, true, Some(5)), (Some(60), false, Some(60)), (Some(60), true, Some(60))]
    {
        let every = |seconds| Probe { interval: Duration::from_secs(seconds), kind: ProbeKind::Models };
        provider.probe = interval.map(every);
        let account = account(&provider).await;
        let mut at = Vec::new();
        let start = Instant::now();
        for _ in 0..400 {
            if account.probe_is_due(needed, Instant::now(), 0.5) {
                at.push(start.elapsed().as_secs());
            }
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        let first = if needed { 0 } else { 1 };
        let expected = seconds.map(|every| (first..).map(|n| n * every).take_while(|at| *at < 200).collect());
        assert_eq!(at, expected.unwrap_or(Vec::new()), "{interval:?} {needed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_since_the_one_before() {
    let bench = bench().await;
    bench.fail(FailureClass::Provider, Some(500));
    let mut ticket = bench.begin().unwrap();
    let _ = ticket.answered(Some(Took::FirstToken(Duration::from_millis(80))), 0.5);
    let report = bench.target.report(Some(&bench.account), false);
    assert_eq!((report.attempts, report.in_flight, report.available), (2, 1, true));
    assert_eq!(report.failures, [v1::ClassCount { class: "provider".into(), count: 1 }]);
    assert_eq!(report.first_token_ewma_ms, 80.0);
    let mut sketch = LatencySketch::default();
    sketch.add(Duration::from_millis(80));
    assert_eq!(report.first_tokens.map(|message| convert::latencies(&message)), Some(Ok(sketch)));
    drop(ticket);
    let report = bench.target.report(Some(&bench.account), false);
    assert_eq!(report.first_tokens, None);
    assert_eq!((report.attempts, report.in_flight, report.failures.len()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn streams_are_ordered_by_first_tokens_and_whole_answers_by_their_own_times() {
    let bench = bench().await;
    let paces = || [true, false].map(|streamed| bench.target.load(streamed).pace.map(|pace| pace.ms));
    let answer = |took| {
        let _ = bench.begin().expect("available").answered(Some(took), 0.5);
    };
    assert_eq!(paces(), [None, None]);
    answer(Took::Whole(Duration::from_secs(90)));
    assert_eq!(paces(), [None, Some(90_000.0)]);
    let report = bench.target.report(None, false);
    assert_eq!((report.first_token_ewma_ms, report.first_tokens), (0.0, None), "a whole answer has no first token");
    answer(Took::FirstToken(Duration::from_millis(80)));
    assert_eq!(paces(), [Some(80.0), Some(90_000.0)]);
    assert_eq!(bench.target.report(None, false).first_token_ewma_ms, 80.0);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(paces(), [None, None], "what is old says nothing");
    assert_eq!(bench.target.report(None, false).first_token_ewma_ms, 0.0);
}

#[tokio::test(start_paused = true)]
async fn who_has_asked_to_be_left_alone_is_so_even_if_its_credential_is_refused_for_longer() {
    let bench = bench().await;
    let wait = Duration::from_secs(3);
    let pressed =
        Failure { status: Some(429), retry_after: Some(wait), ..Failure::new(FailureClass::Saturation, "test") };
    let mut later = Ticket::begin(&bench.account, &bench.sibling, false).unwrap().0;
    let _ = bench.begin().unwrap().failed(&pressed, false, 0.5);
    let asked = |longest: Duration| match bench.target.availability(&bench.account) {
        Availability::Cooling(left, Cause::Asked) => assert!(wait <= left && left < longest, "{left:?}"),
        other => panic!("{other:?}"),
    };
    asked(Duration::from_secs(4));
    assert_eq!(bench.target.pressed_with(), Some(429));
    let refused = Failure { status: Some(401), ..Failure::new(FailureClass::Credential, "test") };
    let _ = later.failed(&refused, false, 0.5);
    asked(Duration::from_secs(60));
}

impl Bench {
    fn finding(&self) -> Option<bool> {
        self.target.report(Some(&self.account), false).finding.map(|finding| finding.down)
    }

    fn answer(&self) {
        let _ = self.begin().expect("available").answered(None, 0.5);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_is_found_down_until_it_answers_again_and_forgotten_without_attempts() {
    let bench = bench().await;
    assert_eq!(bench.finding(), None, "nobody has asked it");
    bench.answer();
    assert_eq!(bench.finding(), Some(false));
    for _ in 0..3 {
        bench.fail(FailureClass::Transport, None);
    }
    assert_eq!(bench.finding(), Some(true));
    let off = bench.target.report(Some(&bench.account), true);
    assert_eq!((off.finding, off.reason.as_str()), (None, WHY), "nobody asks what is switched off");
    tokio::time::advance(Duration::from_secs(1)).await;
    let mut probe = bench.begin().expect("it cools down no more");
    assert_eq!(bench.finding(), Some(true), "half-open");
    let _ = probe.answered(None, 0.5);
    assert_eq!(bench.finding(), Some(true), "one answer is not enough");
    bench.answer();
    assert_eq!(bench.finding(), Some(false));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(bench.finding(), None);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_the_upstreams_own_doing_is_found_of_it() {
    let failed = async |class, status, struck: bool| {
        let bench = bench().await;
        for _ in 0..3 {
            let Some(mut ticket) = bench.begin() else { break };
            if struck {
                ticket.strike();
            }
            let failure = Failure { status, ..Failure::new(class, "test") };
            let _ = ticket.failed(&failure, false, 0.5);
        }
        let sibling = bench.sibling.report(Some(&bench.account), false).finding.map(|finding| finding.down);
        (bench.finding(), sibling)
    };
    for (class, status, expected) in [
        (FailureClass::Provider, Some(500), (Some(true), None)),
        (FailureClass::Transport, None, (Some(true), None)),
        (FailureClass::Credential, Some(403), (Some(true), None)),
        // A credential is all targets' matter.
        (FailureClass::Credential, Some(401), (Some(true), Some(true))),
        (FailureClass::Saturation, Some(429), (None, None)),
        (FailureClass::Cancelled, None, (None, None)),
        (FailureClass::Client, Some(400), (Some(false), None)),
    ] {
        assert_eq!(failed(class, status, false).await, expected, "{} {status:?}", class.as_str());
        assert_eq!(failed(class, status, true).await, (None, None), "injected: {} {status:?}", class.as_str());
    }
}

#[tokio::test(start_paused = true)]
async fn a_word_of_warning_makes_one_failure_enough_but_for_a_target_that_serves() {
    let (word, still) = (Duration::from_secs(6), true);
    // Warned, waited before and after the last answer, failures that it takes.
    for (warned, answered_before, passed, failures) in [
        (false, None, Duration::ZERO, 3),
        (still, None, Duration::ZERO, 1),
        (still, Some(Duration::from_secs(9)), Duration::ZERO, 3),
        (still, Some(Duration::from_secs(10)), Duration::ZERO, 1),
        (still, None, word, 3),
    ] {
        let bench = bench().await;
        if let Some(before) = answered_before {
            bench.answer();
            tokio::time::advance(before).await;
        }
        bench.target.state().warn(warned.then(|| Instant::now() + word));
        assert!(bench.is_available(&bench.target), "a word alone takes nothing out");
        tokio::time::advance(passed).await;
        let mut made = 0;
        while bench.is_available(&bench.target) {
            bench.fail(FailureClass::Provider, Some(500));
            made += 1;
        }
        assert_eq!(made, failures, "{warned} {answered_before:?} {passed:?}");
    }
}

/// Attempts of `wait` each, ended by `end`, until the target is left alone; `None`: it is not within ten.
async fn until_left_alone(usual: Option<Duration>, wait: Duration, end: fn(Ticket)) -> Option<usize> {
    let bench = bench().await;
    let begin = || {
        let mut ticket = bench.begin().expect("available");
        ticket.awaits(Awaited::Whole);
        ticket
    };
    if let Some(usual) = usual {
        let mut ticket = begin();
        tokio::time::advance(usual).await;
        let _ = ticket.answered(None, 0.5);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    for made in 1..=10 {
        let ticket = begin();
        tokio::time::advance(wait).await;
        end(ticket);
        if !bench.is_available(&bench.target) {
            return Some(made);
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn silence_that_a_client_ends_counts_if_it_was_too_long_by_the_targets_own_measure() {
    let hasty = |mut ticket: Ticket| {
        let failure = crate::source::late(meridian_resilience::Expired { stage: meridian_resilience::Stage::Client });
        let _ = ticket.failed(&failure, false, 0.5);
    };
    let outrun = |ticket: Ticket| {
        let _ = ticket.given_up(true, 0.5);
    };
    let left = |ticket: Ticket| {
        let _ = ticket.given_up(false, 0.5);
    };
    let seconds = Duration::from_secs;
    for end in [hasty, outrun, left] {
        assert_eq!(until_left_alone(None, seconds(2), end).await, None, "too soon to say");
        assert_eq!(until_left_alone(None, seconds(4), end).await, Some(3));
        assert_eq!(until_left_alone(Some(seconds(8)), seconds(7), end).await, None, "it usually takes longer");
        assert_eq!(until_left_alone(Some(seconds(8)), seconds(9), end).await, Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_back_all_that_it_asked_counts_once() {
    let bench = bench().await;
    let mut tickets: Vec<_> = (0..10).map(|_| bench.begin().expect("available")).collect();
    tickets.iter_mut().for_each(|ticket| ticket.awaits(Awaited::Stream));
    tokio::time::advance(Duration::from_secs(10)).await;
    for ticket in tickets {
        let _ = ticket.given_up(false, 0.5);
    }
    assert!(bench.is_available(&bench.target));
    assert_eq!(bench.target.report(None, false).failures[0].count, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_its_client_ends_after_content_blames_nobody() {
    let bench = bench().await;
    for _ in 0..10 {
        let mut ticket = bench.begin().expect("available");
        ticket.awaits(Awaited::Stream);
        let _ = ticket.answered(Some(Took::FirstToken(Duration::from_millis(80))), 0.5);
        tokio::time::advance(Duration::from_secs(60)).await;
        let failure = crate::source::late(meridian_resilience::Expired { stage: meridian_resilience::Stage::Client });
        let _ = ticket.failed(&failure, false, 0.5);
    }
    assert!(bench.is_available(&bench.target));
}
