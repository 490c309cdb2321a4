//! The kill switch: what an operator has switched off is not called, whatever else fails, and is back at a word.

use std::time::Duration;

use http_body_util::BodyExt;
use meridian_node::Handle;
use meridian_proto::fleet::v1::{Switch, SwitchScope};
use meridian_proto::node::v1;
use meridian_types::provider::ProbeKind;
use tokio::time::timeout;

use crate::spill::places::{FAR, HOME, NEAR, Places};
use crate::support::{
    PATIENCE, Setup, Whole, ask, ask_streamed, configuration, events, eventually, every_second, publish, start,
    start_without_configuration,
};

/// From now on these are off for the node, each `provider`, `provider:model` or `provider@region`.
fn off(node: &Handle, names: &[&str]) {
    let active = |name: &&str| {
        let (target, region) = name.split_once('@').unwrap_or((name, ""));
        let (provider, model) = target.split_once(':').unwrap_or((target, ""));
        let [provider, model, region] = [provider, model, region].map(str::to_owned);
        let scope = Some(SwitchScope { provider, model, region });
        let (author, reason) = ("alice@10.0.0.1".to_owned(), "key leaked".to_owned());
        v1::ActiveSwitch { switch: Some(Switch { scope, author, reason, ..Switch::default() }), left_ms: None }
    };
    node.serving().switches(&v1::SwitchList { switches: names.iter().map(active).collect(), ..Default::default() });
}

fn message(answer: &Whole) -> String {
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_is_off_is_not_called_the_next_serves_and_it_is_back_at_a_word() {
    let sandbox = start(Setup::default()).await;
    for name in ["first", "first:up-first", "first@eu-west"] {
        off(&sandbox.node, &[name]);
        for body in [ask("chat"), ask_streamed("chat")] {
            let answer = sandbox.chat(body).await;
            let told = (answer.header("x-meridian-provider"), answer.header("x-meridian-attempts"));
            assert_eq!(told, (Some("second"), Some("1")), "{name}");
        }
    }
    assert!(sandbox.seen(0).is_empty());
    let report = sandbox.node.serving().report();
    let first = report.targets.iter().find(|target| target.provider == "first").unwrap();
    let told = (first.available, first.reason.as_str(), &first.finding, first.attempts);
    assert_eq!(told, (false, "switched off by an operator", &None, 0));
    // Others' switches are no matter here, and no breaker has counted anything.
    for name in ["first:up-second", "first@us-west"] {
        off(&sandbox.node, &[name]);
        assert_eq!(sandbox.chat(ask("chat")).await.header("x-meridian-provider"), Some("first"), "{name}");
    }
}

#[tokio::test]
async fn with_nobody_else_the_answer_is_a_503_that_says_why_and_not_who() {
    let sandbox = start(Setup::default()).await;
    off(&sandbox.node, &["first"]);
    let answer = sandbox.chat(ask("only")).await;
    let told = (answer.status.as_u16(), answer.header("x-meridian-attempts"), answer.header("x-should-retry"));
    assert_eq!(told, (503, Some("0"), Some("false")), "{:?}", answer.body);
    assert_eq!(message(&answer), "no target could serve the request: first/up-first switched off by an operator");
    sandbox.break_provider(1, "error;status=500");
    let answer = sandbox.chat(ask("chat")).await;
    assert_eq!(answer.status, 503, "{:?}", answer.body);
    let text = message(&answer);
    assert!(text.contains("second/up-second provider 500") && text.ends_with("switched off by an operator"), "{text}");
    assert!(!text.contains("alice") && !text.contains("leaked"), "{text}");
    assert!(sandbox.seen(0).is_empty());
}

#[tokio::test]
async fn one_that_is_switched_off_meanwhile_is_not_asked_when_its_turn_comes() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "hang");
    let asked = async {
        eventually("the first is asked", || !sandbox.seen(0).is_empty()).await;
        off(&sandbox.node, &["second", "first"]);
    };
    let (answer, ()) = tokio::join!(sandbox.chat(ask("chat")), asked);
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-attempts")), (503, Some("1")), "{:?}", answer.body);
    assert!(sandbox.seen(1).is_empty(), "neither by failover");
    assert_eq!(sandbox.seen(0).len(), 1, "nor again");
}

#[tokio::test]
async fn a_stream_under_way_is_left_to_end() {
    let sim = meridian_sim::Options { tokens: 8, gap: Duration::from_millis(30), ..meridian_sim::Options::instant() };
    let sandbox = start(Setup { sim, ..Setup::default() }).await;
    let mut body = sandbox.stream(ask_streamed("chat")).await.into_body();
    let mut received = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap().to_vec();
    off(&sandbox.node, &["first", "second"]);
    received.extend_from_slice(&timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes());
    assert_eq!(events(&received).last().unwrap(), "[DONE]");
    assert_eq!(sandbox.chat(ask("chat")).await.status, 503);
}

#[tokio::test]
async fn a_provider_that_is_off_is_not_probed() {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    for provider in configuration.providers.values_mut() {
        provider.probe = every_second(ProbeKind::Models);
    }
    off(&sandbox.node, &["first"]);
    publish(&sandbox.node, 1, configuration);
    eventually("the other is probed", || sandbox.seen(1).len() >= 2).await;
    assert!(sandbox.seen(0).is_empty(), "{:?}", sandbox.seen(0));
    off(&sandbox.node, &[]);
    eventually("it is probed again", || !sandbox.seen(0).is_empty()).await;
}

#[tokio::test]
async fn another_region_serves_where_it_is_not_off_and_nobody_is_asked_where_it_is() {
    let places = Places::start(Setup::default()).await;
    let press = |names: &[&str]| places.all.iter().for_each(|place| off(&place.node, names));
    press(&["first@home", "second@home"]);
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-region")), (200, Some("near")));
    press(&["first@home", "second@home", "first@near", "second@near"]);
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-region")), (200, Some("far")));
    let seen = || [HOME, NEAR, FAR].map(|at| places.seen(at).len());
    assert_eq!(seen(), [0, 1, 1]);
    press(&["first", "second"]);
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!(answer.status, 503, "{:?}", answer.body);
    let expected = "no target could serve the request: \
                    first/up-first switched off by an operator; second/up-second switched off by an operator";
    assert_eq!(message(&answer), expected, "other regions were not asked");
    // One that hears of it first refuses, which is not held against it.
    off(&places.all[HOME].node, &["first@home", "second@home"]);
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!(answer.status, 503, "{:?}", answer.body);
    assert!(message(&answer).contains("region near answered 503"), "{}", message(&answer));
    assert_eq!(seen(), [0, 1, 1]);
    press(&["first@home", "second@home"]);
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-region")), (200, Some("near")));
}
