//! Spillover: what one region cannot serve, another does, and nobody hands on what was handed to it.

mod doors;
mod outages;
pub(crate) mod places;

use std::time::Duration;

use http_body_util::BodyExt;
use meridian_sim::Outcome;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::support::{PATIENCE, Setup, ask, ask_streamed, events, eventually, metric, text_of};
use places::{FAR, HOME, NEAR, Places};

#[tokio::test]
async fn the_nearest_region_answers_while_every_target_here_fails() {
    let places = Places::start(Setup::default()).await;
    for fault in ["error;status=503", "refuse", "error;status=500"] {
        places.break_region(HOME, fault);
        for (body, streamed) in [(ask("chat"), false), (ask_streamed("chat"), true)] {
            let answer = places.chat(HOME, body, &[("x-request-id", "mine")]).await;
            assert_eq!(answer.status, 200, "{fault}");
            let names = ["x-meridian-region", "x-meridian-node", "x-meridian-via", "x-request-id"];
            assert_eq!(names.map(|name| answer.header(name)), ["near", "near", "home", "mine"].map(Some), "{fault}");
            assert_eq!(answer.header("x-meridian-served-by"), Some("near/near first:up-first"), "{fault}");
            let attempts: usize = answer.header("x-meridian-attempts").unwrap().parse().unwrap();
            assert!(attempts >= 1, "{fault}: {attempts}");
            let expected = meridian_sim::expected_text("up-first", "hello there", 6);
            if streamed {
                let events = events(&answer.body);
                assert_eq!((text_of(&events), events.last().unwrap().as_str()), (expected, "[DONE]"));
            } else {
                assert_eq!(answer.json()["choices"][0]["message"]["content"], expected);
            }
        }
    }
    assert!(places.seen(FAR).is_empty());
    let seen = places.all[HOME].node.serving().report().observations;
    let handed: Vec<_> = seen.iter().filter_map(|seen| Some((&*seen.node, seen.handed.as_ref()?.taken))).collect();
    assert_eq!(handed, [("near", true)]);
    assert_eq!(places.all[HOME].node.in_flight() + places.all[NEAR].node.in_flight(), 0);
}

#[tokio::test]
async fn attempts_are_those_of_both_regions() {
    let places = Places::start(Setup::default()).await;
    places.break_region(HOME, "error;status=500");
    places.all[NEAR].sims[0].rules().clear();
    let rule = meridian_sim::Rule {
        name: "first".to_owned(),
        matches: meridian_sim::Match::default(),
        fault: "error;status=500".to_owned(),
        count: None,
        probability: None,
    };
    places.all[NEAR].sims[0].rules().put(rule).unwrap();
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-region")), (200, Some("near")));
    let made = places.seen(HOME).len() + places.seen(NEAR).len();
    assert_eq!(answer.header("x-meridian-attempts").unwrap(), made.to_string());
}

#[tokio::test]
async fn who_rests_is_left_alone_and_other_regions_are_asked_unless_an_account_is_at_its_limit() {
    for (status, expected) in [(429, (429, "home")), (503, (200, "near"))] {
        let places = Places::start(Setup::default()).await;
        places.break_region(HOME, &format!("error;status={status};retry_after=30"));
        for _ in 0..3 {
            let answer = places.chat(HOME, ask("chat"), &[]).await;
            let region = answer.header("x-meridian-region").unwrap();
            assert_eq!((answer.status.as_u16(), region), expected, "{status}");
        }
        assert_eq!(places.seen(HOME).len(), 2, "{status}: each target once");
        let elsewhere = if status == 429 { 0 } else { 3 };
        assert_eq!(places.seen(NEAR).len() + places.seen(FAR).len(), elsewhere, "{status}");
    }
}

#[tokio::test]
async fn what_was_handed_over_is_never_handed_on() {
    let places = Places::start(Setup::default()).await;
    for at in [HOME, NEAR] {
        places.break_region(at, "error;status=500");
    }
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-via")), (200, Some("home")));
    assert_eq!(answer.header("x-meridian-region"), Some("far"), "home asks it, and near did not");
    places.break_region(FAR, "error;status=500");
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert!(answer.status.is_server_error(), "{}", answer.status);
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("region near answered 502 after "), "{message}");
    assert!(message.contains("region far answered 502 after "), "{message}");
    for at in [NEAR, FAR] {
        let text = places.metrics(at).await;
        assert!(metric(&text, "meridian_node_handovers_total").is_empty(), "{text}");
    }
    let handed = metric(&places.metrics(HOME).await, "meridian_node_handovers_total");
    assert_eq!(handed["{region=\"far\",reason=\"exhausted\",result=\"ok\"}"], 1.0);
}

#[tokio::test]
async fn a_region_where_the_data_must_not_go_is_not_asked_and_the_answer_says_so() {
    let places = Places::start(Setup { jurisdictions: ["EU", "EU"], ..Setup::default() }).await;
    for at in [HOME, NEAR] {
        places.break_region(at, "error;status=500");
    }
    // By account, and by the header of a tenant that may go anywhere.
    for headers in [&[("authorization", "Bearer mrd_eu")][..], &[("x-data-region", "EU")][..]] {
        let answer = places.chat(HOME, ask("chat"), headers).await;
        assert!(matches!(answer.status.as_u16(), 502 | 503), "{}", answer.status);
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.ends_with("not asked, outside the allowed jurisdictions: far"), "{message}");
    }
    assert!(places.seen(FAR).is_empty());
}

#[tokio::test]
async fn a_request_that_is_wrong_stays_here_and_a_refusal_is_not_routed_around() {
    let places = Places::start(Setup::default()).await;
    places.break_region(HOME, "error;status=400");
    assert_eq!(places.chat(HOME, ask("chat"), &[]).await.status, 400);
    assert!(places.seen(NEAR).is_empty() && places.seen(FAR).is_empty());
}

#[tokio::test]
async fn what_this_node_has_no_place_for_is_served_elsewhere_and_counts_as_load_here() {
    let places = Places::start(Setup { max_in_flight: 1, ..Setup::default() }).await;
    places.break_region(HOME, "stall;after=2;ms=5000");
    let first = places.send(HOME, ask_streamed("chat"), &[]).await;
    let second = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((second.status.as_u16(), second.header("x-meridian-region")), (200, Some("near")));
    assert_eq!(second.header("x-meridian-attempts"), Some("1"));
    let report = places.all[HOME].node.serving().report();
    assert_eq!((report.requests_started, report.requests_shed), (1, 1));
    let shed = metric(&places.metrics(HOME).await, "meridian_node_requests_shed_by_class_total");
    assert_eq!(shed["{class=\"default\"}"], 1.0);
    drop(first);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_in_both_regions() {
    let sim =
        meridian_sim::Options { tokens: 10_000, gap: Duration::from_millis(20), ..meridian_sim::Options::instant() };
    let places = Places::start(Setup { sim, ..Setup::default() }).await;
    places.break_region(HOME, "error;status=503");
    let mut body = places.send(HOME, ask_streamed("chat"), &[]).await.into_body();
    timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!((places.all[HOME].node.in_flight(), places.all[NEAR].node.in_flight()), (1, 1));
    drop(body);
    eventually("cancelled at the provider", || places.seen(NEAR)[0].outcome == Outcome::Cancelled).await;
    eventually("places are free", || [HOME, NEAR].map(|at| places.all[at].node.in_flight()) == [0, 0]).await;
}

#[tokio::test]
async fn streams_pass_event_by_event() {
    let sim = meridian_sim::Options { tokens: 5, gap: Duration::from_millis(80), ..meridian_sim::Options::instant() };
    let places = Places::start(Setup { sim, ..Setup::default() }).await;
    places.break_region(HOME, "error;status=503");
    let mut body = places.send(HOME, ask_streamed("chat"), &[]).await.into_body();
    let mut arrivals = Vec::new();
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
        let data = frame.unwrap().into_data().unwrap();
        if !text_of(&events(&data)).is_empty() {
            arrivals.push(Instant::now());
        }
    }
    assert_eq!(arrivals.len(), 5, "a frame a token");
    assert!(arrivals[4] - arrivals[0] >= Duration::from_millis(280), "not collected: {arrivals:?}");
}

#[tokio::test]
async fn a_region_that_dies_inside_its_answer_is_told_in_band() {
    let sim =
        meridian_sim::Options { tokens: 1000, gap: Duration::from_millis(20), ..meridian_sim::Options::instant() };
    let places = Places::start(Setup { sim, ..Setup::default() }).await;
    places.break_region(HOME, "error;status=503");
    let mut body = places.send(HOME, ask_streamed("chat"), &[]).await.into_body();
    let mut received = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap().to_vec();
    places.all[NEAR].trigger.force();
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
        received.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let events = events(&received);
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert!(last["error"]["code"].is_string(), "{last}");
    let others: Result<Vec<Value>, _> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event)).collect();
    assert!(others.is_ok(), "only whole events before it");
    // Who is found dead is not asked again, and the next one serves.
    let answer = places.send(HOME, ask_streamed("chat"), &[]).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["x-meridian-region"]), (200, &"far".parse().unwrap()));
}

#[tokio::test]
async fn one_models_trouble_there_does_not_close_the_region_for_the_others() {
    let places = Places::start(Setup::default()).await;
    places.break_region(HOME, "error;status=500");
    // `only` is served by the first provider alone.
    let rule = meridian_sim::Rule {
        name: "only".to_owned(),
        matches: meridian_sim::Match { model: Some("up-first".to_owned()), ..Default::default() },
        fault: "error;status=500".to_owned(),
        count: None,
        probability: None,
    };
    for at in [NEAR, FAR] {
        places.all[at].sims[0].rules().put(rule.clone()).unwrap();
    }
    let mut left_alone = false;
    for _ in 0..30 {
        let before = places.seen(NEAR).len();
        let answer = places.chat(HOME, ask("only"), &[]).await;
        assert!(answer.status.is_server_error());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        if message.contains("region near is left alone for now") {
            assert_eq!(places.seen(NEAR).len(), before, "a total outage multiplies nothing");
            left_alone = true;
            break;
        }
    }
    assert!(left_alone);
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-region")), (200, Some("near")));
}

#[tokio::test]
async fn the_clients_time_is_carried_and_shrinks() {
    let places = Places::start(Setup::default()).await;
    places.break_region(HOME, "error;status=500");
    places.break_region(NEAR, "hang");
    places.break_region(FAR, "hang");
    let started = Instant::now();
    let answer = places.chat(HOME, ask("chat"), &[("x-meridian-timeout-ms", "900")]).await;
    assert!(answer.status.is_server_error(), "{}", answer.status);
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    eventually("nothing is left behind", || places.all.iter().all(|place| place.node.in_flight() == 0)).await;
}
