//! A provider that fails before anything semantic was sent is left for the next, and the client sees nothing of it.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Setup, ask, ask_streamed, configuration, events, metric, publish, start, start_without_configuration, text_of,
};

/// With `fault` at the first provider, both kinds of answers come from the second.
async fn check(fault: &str) {
    for codec in ["openai_compatible", "anthropic"] {
        let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
        sandbox.break_provider(0, fault);
        let expected = meridian_sim::expected_text("up-second", "hello there", 6);

        let answer = sandbox.chat(ask("chat")).await;
        assert_eq!(answer.status, 200, "{codec} {fault}: {:?}", answer.body);
        assert_eq!(answer.json()["choices"][0]["message"]["content"], expected, "{codec} {fault}");
        assert_eq!(answer.header("x-meridian-provider"), Some("second"), "{codec} {fault}");
        assert_eq!(answer.header("x-meridian-served-by"), Some("eu-west/n1 second:up-second"), "{codec} {fault}");
        assert_eq!(answer.header("x-meridian-attempts"), Some("2"), "{codec} {fault}");

        let streamed = sandbox.chat(ask_streamed("chat")).await;
        assert_eq!(streamed.status, 200, "{codec} {fault}");
        let events = events(&streamed.body);
        assert_eq!(text_of(&events), expected, "{codec} {fault}");
        assert_eq!(events.last().unwrap(), "[DONE]", "{codec} {fault}");
    }
}

#[tokio::test]
async fn an_error_answer_is_left_for_the_next() {
    for status in [500, 502, 503, 529, 401, 404] {
        check(&format!("error;status={status}")).await;
    }
}

#[tokio::test]
async fn pressure_is_left_for_the_next() {
    check("error;status=429;retry_after=7").await;
}

#[tokio::test]
async fn a_reset_or_an_empty_or_a_garbled_answer_is_left_for_the_next() {
    for fault in ["refuse", "empty", "garbage", "bad_json", "cut;after=0", "truncate;after=0"] {
        check(fault).await;
    }
}

#[tokio::test]
async fn silence_is_left_for_the_next() {
    check("hang").await;
}

#[tokio::test]
async fn silence_after_the_head_is_left_for_the_next() {
    check("stall;after=0").await;
}

#[tokio::test]
async fn an_error_inside_a_200_before_content_is_left_for_the_next() {
    check("error_event;after=0;kind=overloaded").await;
}

#[tokio::test]
async fn a_slow_first_token_is_left_for_the_next_although_keep_alives_come() {
    for codec in ["openai_compatible", "anthropic"] {
        let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
        sandbox.break_provider(0, "first_token;ms=20000;ping_ms=100");
        let streamed = sandbox.chat(ask_streamed("chat")).await;
        assert_eq!(streamed.header("x-meridian-provider"), Some("second"), "{codec}");
        let events = events(&streamed.body);
        assert_eq!(text_of(&events), meridian_sim::expected_text("up-second", "hello there", 6), "{codec}");
        // Nothing of the first provider's start reached the client.
        assert!(!String::from_utf8_lossy(&streamed.body).contains("up-first"), "{codec}");
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_left_for_the_next() {
    let setup = Setup::default();
    let (sandbox, [_, second]) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    publish(&sandbox.node, 1, configuration(&setup, [nobody, second]));
    let answer = sandbox.chat(ask("chat")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-provider")), (200, Some("second")));
}

#[tokio::test]
async fn a_target_that_fails_repeatedly_is_left_alone() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "error;status=500");
    for _ in 0..10 {
        assert_eq!(sandbox.chat(ask("chat")).await.status, 200);
    }
    assert_eq!(sandbox.seen(0).len(), 3, "three failures open the breaker");
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let attempts = metric(&text, "meridian_node_attempts_total");
    assert_eq!(attempts["{provider=\"first\",model=\"up-first\",result=\"provider\"}"], 3.0, "{attempts:?}");
    assert_eq!(attempts["{provider=\"second\",model=\"up-second\",result=\"ok\"}"], 10.0, "{attempts:?}");
    let report = sandbox.node.serving().report();
    assert_eq!((report.requests_started, report.requests_finished), (10, 10));
    let first = report.targets.iter().find(|target| target.provider == "first").unwrap();
    assert!(!first.available && first.reason.contains("failed repeatedly"), "{first:?}");
    assert_eq!((first.attempts, first.failures[0].count), (3, 3));
}

#[tokio::test]
async fn when_nobody_serves_the_client_gets_the_most_telling_error() {
    for (fault, status, code, retry, attempts) in [
        ("error;status=429;retry_after=7", 429, "rate_limit_exceeded", Some("true"), "1"),
        ("error;status=401", 502, "upstream_credentials_exhausted", Some("false"), "1"),
        ("hang", 504, "upstream_timeout", None, "1"),
        ("error;status=500", 502, "upstream_error", Some("false"), "3"),
        ("bad_json", 502, "upstream_interrupted", Some("false"), "3"),
    ] {
        let sandbox = start(Setup::default()).await;
        sandbox.break_provider(0, fault);
        let answer = sandbox.chat(ask_streamed("only")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{fault}");
        assert_eq!(answer.header("x-should-retry"), retry, "{fault}");
        assert_eq!(answer.header("x-meridian-attempts"), Some(attempts), "{fault}");
        if retry == Some("true") {
            // What is left of the rest: up to a tenth more than was asked for.
            let ms: u64 = answer.header("retry-after-ms").unwrap().parse().unwrap();
            assert!((6_500..=7_700).contains(&ms), "{ms}");
        }
    }
}

#[tokio::test]
async fn what_was_tried_is_listed_and_an_upstream_hears_how_much_time_is_left() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "error;status=500");
    sandbox.break_provider(1, "error;status=503");
    let body = ask("chat");
    let request = sandbox.request(&body).header("x-meridian-timeout-ms", "10000");
    let answer = sandbox.whole(request.body(http_body_util::Full::new(body.to_string().into())).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "upstream_unavailable"));
    let text = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    for part in ["first/up-first provider 500", "second/up-second saturation 503"] {
        assert!(text.contains(part), "{text}");
    }
    let left: u64 = sandbox.seen(0)[0].headers["x-meridian-timeout-ms"].parse().unwrap();
    // All of it: who else may be asked is not its matter.
    assert!((8_000..=9_500).contains(&left), "{left}");
}

#[tokio::test]
async fn a_refused_credential_is_not_shown_to_the_provider_again_and_again() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "error;status=401");
    for _ in 0..5 {
        assert_eq!(sandbox.chat(ask("chat")).await.status, 200);
    }
    assert_eq!(sandbox.seen(0).len(), 1);
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let changes = metric(&text, "meridian_node_credential_changes_total");
    assert_eq!(changes["{provider=\"first\",to=\"opened\"}"], 1.0, "{changes:?}");
}

#[tokio::test]
async fn the_clients_own_mistake_comes_straight_back() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "error;status=400");
    let answer = sandbox.chat(ask("chat")).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert!(answer.json()["error"]["message"].is_string());
    assert!(sandbox.seen(1).is_empty(), "nobody else was asked");
}

#[tokio::test]
async fn what_one_dialect_cannot_carry_goes_to_the_other() {
    let setup = Setup { codecs: ["anthropic", "openai_compatible"], ..Setup::default() };
    let sandbox = start(setup).await;
    let mut body = ask("chat");
    body["logprobs"] = json!(true);
    let answer = sandbox.chat(body).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-provider")), (200, Some("second")));
    assert_eq!(answer.header("x-meridian-attempts"), Some("1"), "the first one was not even asked");
}

#[tokio::test]
async fn a_prompt_that_is_too_long_goes_to_a_fallback_model_and_not_to_the_same_one_elsewhere() {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    let only = configuration.models.get_mut("only").unwrap();
    let again = meridian_types::model::Target { model: "again".parse().unwrap(), ..only.tiers[0][0].clone() };
    only.tiers.push(vec![again]);
    only.fallbacks.push("chat".parse().unwrap());
    publish(&sandbox.node, 1, configuration);
    sandbox.break_provider(0, "error;kind=context_length");
    let answer = sandbox.chat(ask("only")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-model")), (200, Some("up-second")));
    assert_eq!(sandbox.seen(0).len(), 1, "not sent again to the model that is too small");
    sandbox.break_provider(1, "error;kind=context_length");
    let answer = sandbox.chat(ask("only")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "context_length_exceeded"));
}

#[tokio::test]
async fn a_models_own_deadlines_and_refusal_policy_replace_the_defaults() {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    let policy = &mut configuration.models.get_mut("chat").unwrap().policy;
    policy.deadlines.response_headers = Some(Duration::from_millis(100));
    policy.reroute_refusals = true;
    publish(&sandbox.node, 1, configuration);
    sandbox.break_provider(0, "hang");
    let started = tokio::time::Instant::now();
    assert_eq!(sandbox.chat(ask_streamed("chat")).await.header("x-meridian-provider"), Some("second"));
    // The provider's own would be a second.
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    sandbox.break_provider(0, "error;kind=content_filter");
    assert_eq!(sandbox.chat(ask("chat")).await.header("x-meridian-provider"), Some("second"));
    assert_eq!(sandbox.chat(ask("only")).await.status, 400);
}

#[tokio::test]
async fn a_provider_at_its_limit_is_passed_over() {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    configuration.providers.get_mut("first").unwrap().max_in_flight = 1;
    publish(&sandbox.node, 1, configuration);
    sandbox.break_provider(0, "stall;after=2;ms=500");
    let open = sandbox.stream(ask_streamed("chat")).await;
    let answer = sandbox.chat(ask("chat")).await;
    assert_eq!(
        (answer.header("x-meridian-provider"), answer.header("x-meridian-attempts")),
        (Some("second"), Some("1"))
    );
    let answer = sandbox.chat(ask("only")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (503, Some("true")));
    drop(open);
}
