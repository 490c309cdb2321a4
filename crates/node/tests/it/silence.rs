//! A provider that is silent for longer than its clients wait, which is less than our own deadlines allow: it is found out
//! all the same, and clients are served by the next.

use std::time::Duration;

use futures::future::join_all;
use http_body_util::Full;
use meridian_sim::{Match, Rule};
use meridian_types::Configuration;
use meridian_types::model::Target;
use meridian_types::provider::Deadlines;
use tokio::time::Instant;

use crate::support::{Sandbox, Setup, Whole, ask, ask_streamed, configuration, publish, start_without_configuration};

const READ_TIMEOUT: &str = "x-stainless-read-timeout";
const TIMEOUT: &str = "x-meridian-timeout-ms";

/// With the deadlines that providers have if nothing is written: half a minute, and two for whole answers.
async fn patient() -> Sandbox {
    adjusted(|_| {}).await
}

async fn adjusted(adjust: impl FnOnce(&mut Configuration)) -> Sandbox {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    for provider in configuration.providers.values_mut() {
        provider.deadlines = Deadlines::default();
    }
    adjust(&mut configuration);
    publish(&sandbox.node, 1, configuration);
    sandbox
}

async fn chat(sandbox: &Sandbox, streamed: bool, (name, value): (&str, &str)) -> Whole {
    let body = if streamed { ask_streamed("chat") } else { ask("chat") };
    let request = sandbox.request(&body).header(name, value);
    sandbox.whole(request.body(Full::new(body.to_string().into())).unwrap()).await
}

fn served_by(answer: &Whole) -> (u16, Option<&str>) {
    (answer.status.as_u16(), answer.header("x-meridian-provider"))
}

/// Whether the first provider is available, and how many failures were counted of it.
fn first(sandbox: &Sandbox) -> (bool, u64) {
    let report = sandbox.node.serving().report();
    let first = report.targets.into_iter().find(|target| target.provider == "first").unwrap();
    (first.available, first.failures.iter().map(|failures| failures.count).sum())
}

/// Clients that wait for eight seconds: the next provider is asked after nearly four.
async fn silent(streamed: bool, header: (&str, &str)) {
    let sandbox = patient().await;
    sandbox.break_provider(0, "hang");
    let at_once = join_all((0..4).map(|_| chat(&sandbox, streamed, header))).await;
    assert!(at_once.iter().all(|answer| served_by(answer) == (200, Some("second"))), "{streamed} {header:?}");
    for _ in 0..16 {
        let answer = chat(&sandbox, streamed, header).await;
        assert_eq!(served_by(&answer), (200, Some("second")), "{streamed} {header:?}");
    }
    assert!(first(&sandbox).1 >= 3, "{streamed} {header:?}: silence is a failure");
    let asked = sandbox.seen(0).iter().filter(|seen| seen.method == "POST").count();
    assert!((4..=6).contains(&asked), "{streamed} {header:?}: asked {asked} times");
}

#[tokio::test]
async fn a_silent_primary_is_left_alone_before_our_own_deadlines_have_passed_and_no_client_fails() {
    let all = [
        (true, (READ_TIMEOUT, "8")),
        (false, (READ_TIMEOUT, "8")),
        (true, (TIMEOUT, "8000")),
        (false, (TIMEOUT, "8000")),
    ];
    join_all(all.map(|(streamed, header)| silent(streamed, header))).await;
}

#[tokio::test]
async fn a_target_is_not_blamed_for_clients_that_wait_for_less_than_it_takes() {
    let sandbox = patient().await;
    sandbox.break_provider(0, "first_token;ms=1000");
    sandbox.break_provider(1, "first_token;ms=1000");
    let hasty = join_all((0..12).map(|_| chat(&sandbox, true, (TIMEOUT, "300")))).await;
    assert!(hasty.iter().all(|answer| (answer.status.as_u16(), answer.code().as_str()) == (504, "upstream_timeout")));
    assert!(first(&sandbox).0);
    assert_eq!(served_by(&chat(&sandbox, true, (TIMEOUT, "5000")).await), (200, Some("first")));
}

#[tokio::test]
async fn a_target_that_takes_more_than_its_share_still_wins_if_the_next_is_no_faster() {
    for streamed in [true, false] {
        let sandbox = patient().await;
        let slow = if streamed { "first_token;ms=700" } else { "latency;ms=700" };
        for which in [0, 1] {
            sandbox.break_provider(which, slow);
        }
        // Half of it is over after 450 ms, and all of it before the second would answer.
        let answer = chat(&sandbox, streamed, (TIMEOUT, "1000")).await;
        assert_eq!(served_by(&answer), (200, Some("first")), "{streamed}");
        assert_eq!((answer.header("x-meridian-attempts"), first(&sandbox)), (Some("2"), (true, 0)), "{streamed}");
    }
}

#[tokio::test]
async fn when_the_one_that_is_asked_beside_fails_the_next_is_asked_at_once() {
    let sandbox = adjusted(|configuration| {
        let tiers = &mut configuration.models.get_mut("chat").unwrap().tiers;
        let broken = Target { model: "up-broken".parse().unwrap(), ..tiers[1][0].clone() };
        tiers.insert(1, vec![broken]);
    });
    let sandbox = sandbox.await;
    sandbox.break_provider(0, "hang");
    let matches = Match { model: Some("up-broken".to_owned()), ..Match::default() };
    let (name, fault) = ("broken".to_owned(), "error;status=500".to_owned());
    sandbox.sims[1].rules().put(Rule { name, matches, fault, count: None, probability: None }).unwrap();
    let started = Instant::now();
    let answer = chat(&sandbox, true, (TIMEOUT, "3000")).await;
    assert_eq!((served_by(&answer), answer.header("x-meridian-attempts")), ((200, Some("second")), Some("3")));
    assert!(started.elapsed() < Duration::from_millis(1950), "not after another share: {:?}", started.elapsed());
}
