//! Targets that ask to be left alone (Retry-After): nobody asks them before their time, and the client hears how long that is.

use std::time::Duration;

use http_body_util::Full;
use tokio::time::Instant;

use crate::support::{
    PATIENCE, Sandbox, Setup, Whole, ask, ask_streamed, configuration, publish, start, start_without_configuration,
};

/// Status, code, and what is said about coming back.
fn told(answer: &Whole) -> (u16, String, Option<&str>, Duration) {
    let ms = answer.header("retry-after-ms").expect("a time").parse().unwrap();
    let seconds: u64 = answer.header("retry-after").expect("a time").parse().unwrap();
    assert!(seconds * 1000 >= ms && seconds * 1000 < ms + 1000, "{seconds} s, {ms} ms");
    (answer.status.as_u16(), answer.code(), answer.header("x-should-retry"), Duration::from_millis(ms))
}

#[tokio::test]
async fn the_only_target_is_not_asked_within_its_rest_and_every_client_is_told_what_is_left_of_it() {
    const REST: Duration = Duration::from_secs(30);
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "error;status=429;retry_after=30");
    let asked = Instant::now();
    for i in 0..30 {
        let answer = sandbox.chat(if i % 2 == 0 { ask("only") } else { ask_streamed("only") }).await;
        let (status, code, retry, left) = told(&answer);
        assert_eq!((status, code.as_str(), retry), (429, "rate_limit_exceeded", Some("true")), "{i}");
        // At least what it asked for, and little more; headers have whole milliseconds.
        let least = REST.saturating_sub(asked.elapsed() + Duration::from_millis(1));
        assert!(least <= left && left <= REST.mul_f64(1.1), "{i}: {left:?}");
        let tried = if i == 0 { "1" } else { "0" };
        assert_eq!(answer.header("x-meridian-attempts"), Some(tried), "{i}");
    }
    assert_eq!(sandbox.seen(0).len(), 1);
    // Where there is another target it serves, as before.
    assert_eq!(sandbox.chat(ask("chat")).await.header("x-meridian-provider"), Some("second"));
}

#[tokio::test]
async fn when_the_rest_is_over_the_target_is_asked_again() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "error;status=429;retry_after=2");
    // A client that would wait so long would get its answer at once after.
    let request = || sandbox.request(&ask("only")).header("x-meridian-timeout-ms", "1000");
    let send = async || sandbox.whole(request().body(Full::new(ask("only").to_string().into())).unwrap()).await;
    let (status, _, _, left) = told(&send().await);
    let since = Instant::now();
    assert_eq!((status, sandbox.seen(0).len()), (429, 1));
    sandbox.sims[0].rules().clear();
    while send().await.status != 200 {
        assert!(since.elapsed() < PATIENCE, "never asked again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(since.elapsed() + Duration::from_millis(100) >= left, "asked too soon: {:?}", since.elapsed());
    assert_eq!(sandbox.seen(0).len(), 2);
}

#[tokio::test]
async fn of_several_that_rest_the_first_to_come_back_counts() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "error;status=429;retry_after=40");
    sandbox.break_provider(1, "error;status=503;retry_after=20");
    for i in 0..3 {
        let answer = sandbox.chat(ask("chat")).await;
        let (status, code, retry, left) = told(&answer);
        let expected = if i == 0 { (503, "upstream_unavailable") } else { (429, "rate_limit_exceeded") };
        assert_eq!(((status, code.as_str()), retry), (expected, Some("true")), "{i}");
        assert!((15..=22).contains(&left.as_secs()), "{i}: {left:?}");
        if i > 0 {
            let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            for target in ["first/up-first", "second/up-second"] {
                assert!(message.contains(&format!("{target} has asked to be left alone for ")), "{message}");
            }
        }
    }
    assert_eq!([0, 1].map(|which| sandbox.seen(which).len()), [1, 1]);
}

/// `chat`, with a single place at its second provider.
async fn one_place() -> Sandbox {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    configuration.providers.get_mut("second").unwrap().max_in_flight = 1;
    publish(&sandbox.node, 1, configuration);
    sandbox
}

#[tokio::test]
async fn one_that_rests_beside_one_that_is_full_is_no_rate_limit() {
    let sandbox = one_place().await;
    sandbox.break_provider(0, "error;status=429;retry_after=30");
    sandbox.break_provider(1, "stall;after=2;ms=5000");
    let open = sandbox.stream(ask_streamed("chat")).await;
    let answer = sandbox.chat(ask("chat")).await;
    let (status, code, retry, left) = told(&answer);
    assert_eq!((status, code.as_str(), retry), (503, "upstream_unavailable", Some("true")));
    assert_eq!(left, Duration::from_secs(1), "a place may be free at any moment");
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("first/up-first has asked to be left alone for "), "{message}");
    assert!(message.ends_with("the others are at their limit, or cannot honour it"), "{message}");
    drop(open);
}
