//! Streams that die after content and go on at another target, where the model asks for it.

use http_body_util::BodyExt;
use meridian_sim::{Match, Outcome, Rule};
use meridian_types::model::{Prefill, Target};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::messages;
use crate::support::{
    PATIENCE, Sandbox, Setup, Whole, ask_streamed, configuration, events, eventually, metric, publish,
    start_without_configuration, text_of,
};
use crate::tokens;

/// Tokens of a whole answer.
const TOKENS: u32 = 10;

const KINDS: [&str; 2] = ["openai_compatible", "anthropic"];

/// `chat` is served by these targets in this order, `provider/model`, and its streams go on.
async fn continuing(codecs: [&'static str; 2], targets: &[&str], prefill: Option<Prefill>) -> Sandbox {
    let sim = meridian_sim::Options { tokens: TOKENS, ..meridian_sim::Options::instant() };
    let setup = Setup { codecs, sim, ..Setup::default() };
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    let chat = configuration.models.get_mut("chat").unwrap();
    let target = |name: &&str| {
        let (provider, model) = name.split_once('/').unwrap();
        let (provider, model) = (provider.parse().unwrap(), model.parse().unwrap());
        vec![Target { provider, model, weight: 100, price: None, prefill }]
    };
    chat.tiers = targets.iter().map(target).collect();
    chat.policy.continue_streams = true;
    publish(&sandbox.node, 1, configuration);
    sandbox
}

async fn two(codecs: [&'static str; 2]) -> Sandbox {
    continuing(codecs, &["first/up-first", "second/up-second"], Some(Prefill::LastMessage)).await
}

/// Makes every request for one upstream model fail in this way.
fn break_model(sandbox: &Sandbox, which: usize, model: &str, fault: &str) {
    let matches = Match { model: Some(model.to_owned()), ..Match::default() };
    let (name, fault) = (model.to_owned(), fault.to_owned());
    sandbox.sims[which].rules().put(Rule { name, matches, fault, count: None, probability: None }).unwrap();
}

/// The whole answer as the first target would have given it: a target that goes on says the rest of the same.
fn whole() -> String {
    meridian_sim::expected_text("up-first", "hello there", TOKENS)
}

fn asked(anthropic: bool) -> Value {
    if anthropic {
        return messages::ask_streamed("chat");
    }
    let mut body = ask_streamed("chat");
    body["stream_options"] = json!({"include_usage": true});
    body
}

async fn send(sandbox: &Sandbox, anthropic: bool, body: Value) -> Whole {
    if anthropic { messages::send(sandbox, body).await } else { sandbox.chat(body).await }
}

/// What a client made of one stream.
#[derive(Debug, Default, PartialEq)]
struct Client {
    text: String,
    /// Why it ended, if it says so; each time that it does.
    reasons: Vec<String>,
    /// Ids and models that it saw.
    names: Vec<String>,
    /// Beginnings: roles, or `message_start`.
    beginnings: usize,
    output_tokens: Option<u64>,
    input_tokens: Option<u64>,
    /// Type or code, and words, of an error.
    error: Option<(String, String)>,
    /// `[DONE]` or `message_stop`.
    ended: bool,
}

fn read(anthropic: bool, body: &[u8]) -> Client {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut client = Client::default();
    let data = match anthropic {
        true => messages::events(body).into_iter().map(|(_, data)| data).collect(),
        false => {
            let events = events(body);
            client.ended = events.last().is_some_and(|last| last == "[DONE]");
            client.text = text_of(&events);
            events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok()).collect::<Vec<_>>()
        }
    };
    for data in data {
        if let Some(error) = data.get("error") {
            let kind = error.get("code").unwrap_or(&error["type"]);
            client.error = Some((text(kind), text(&error["message"])));
        } else if anthropic {
            client.text.push_str(data["delta"]["text"].as_str().unwrap_or_default());
            client.ended |= data["type"] == "message_stop";
            client.reasons.extend(data["delta"]["stop_reason"].as_str().map(str::to_owned));
            if let Some(message) = data.get("message") {
                client.beginnings += 1;
                client.names.extend([text(&message["id"]), text(&message["model"])]);
            }
            let usage = data.get("usage").unwrap_or(&data["message"]["usage"]);
            client.output_tokens = usage["output_tokens"].as_u64().or(client.output_tokens);
            client.input_tokens = usage["input_tokens"].as_u64().or(client.input_tokens);
        } else {
            client.names.extend([text(&data["id"]), text(&data["model"])]);
            let choice = &data["choices"][0];
            client.beginnings += usize::from(choice["delta"]["role"].is_string());
            client.reasons.extend(choice["finish_reason"].as_str().map(str::to_owned));
            client.output_tokens = data["usage"]["completion_tokens"].as_u64().or(client.output_tokens);
            client.input_tokens = data["usage"]["prompt_tokens"].as_u64().or(client.input_tokens);
        }
    }
    client.names.sort();
    client.names.dedup();
    client
}

async fn continued(sandbox: &Sandbox, result: &str) -> f64 {
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let counted = metric(&text, "meridian_node_continuations_total");
    counted.get(&format!("{{result=\"{result}\"}}")).copied().unwrap_or_default()
}

/// With `fault` after five tokens the second target says the rest, in the same stream.
async fn check(fault: &str) {
    for first in KINDS {
        for second in KINDS {
            for anthropic in [false, true] {
                let case = format!("{first}, {second}, anthropic client: {anthropic}, {fault}");
                let sandbox = two([first, second]).await;
                sandbox.break_provider(0, fault);
                let answer = send(&sandbox, anthropic, asked(anthropic)).await;
                let client = read(anthropic, &answer.body);
                assert_eq!((answer.status.as_u16(), client.text.as_str()), (200, whole().as_str()), "{case}");
                assert_eq!((client.error, client.ended, client.beginnings), (None, true, 1), "{case}");
                assert_eq!(client.reasons, [if anthropic { "end_turn" } else { "stop" }], "{case}");
                assert_eq!(client.names.len(), 2, "one id, one model: {case}: {:?}", client.names);
                assert!(client.names.contains(&"up-first".to_owned()), "{case}: {:?}", client.names);
                assert_eq!(client.output_tokens, Some(u64::from(TOKENS)), "{case}");
                assert!(client.input_tokens > Some(0), "{case}");
                let seen = sandbox.seen(1);
                assert_eq!(seen.len(), 1, "{case}");
                let messages = seen[0].body.as_ref().unwrap()["messages"].as_array().unwrap().clone();
                let said = "Simulated reply from up-first: hello";
                assert_eq!(messages.last().unwrap(), &json!({"role": "assistant", "content": said}), "{case}");
                assert_eq!(continued(&sandbox, "continued").await, 1.0, "{case}");
                let tokens = [tokens::counted(&sandbox, "first").await.1, tokens::counted(&sandbox, "second").await.1];
                assert_eq!(tokens, [5, u64::from(TOKENS) - 5], "each its own part: {case}");
                eventually("the request has ended", || sandbox.node.in_flight() == 0).await;
                let report = sandbox.node.serving().report();
                assert_eq!((report.requests_finished, report.errors.len()), (1, 0), "{case}");
                let failures: u64 = report.targets.iter().flat_map(|target| &target.failures).map(|f| f.count).sum();
                assert_eq!(failures, 1, "the target that died is blamed: {case}");
            }
        }
    }
}

#[tokio::test]
async fn a_cut_stream_goes_on_elsewhere() {
    check("cut;after=5;how=reset").await;
    check("cut;after=5;how=close").await;
    check("truncate;after=5").await;
}

#[tokio::test]
async fn a_stream_that_ends_early_goes_on_elsewhere() {
    check("end;after=5").await;
    check("no_finish;after=5").await;
}

#[tokio::test]
async fn a_stream_that_falls_silent_goes_on_elsewhere() {
    check("stall;after=5").await;
}

#[tokio::test]
async fn a_stream_that_turns_to_nonsense_or_to_an_error_goes_on_elsewhere() {
    check("bad_sse;after=5").await;
    check("error_event;after=5;kind=server").await;
    check("error_event;after=5;kind=overloaded").await;
}

/// The client gets what came and then is told why the first target's stream died.
async fn check_told(sandbox: &Sandbox, anthropic: bool, body: Value, result: &str) -> Client {
    let client = read(anthropic, &send(sandbox, anthropic, body).await.body);
    let code = if anthropic { "api_error" } else { "upstream_interrupted" };
    let (kind, words) = client.error.clone().expect("an error event");
    assert_eq!(kind, code, "{words}");
    assert!(!words.contains("prefill") && !words.contains("assistant"), "not another target's complaint: {words}");
    assert_eq!((client.ended, client.reasons.len()), (false, 0));
    assert_eq!(continued(sandbox, result).await, 1.0, "{result}");
    eventually("the request has ended", || sandbox.node.in_flight() == 0).await;
    client
}

#[tokio::test]
async fn a_target_that_refuses_to_go_on_is_not_heard_by_the_client() {
    for anthropic in [false, true] {
        let sandbox = two([KINDS[1]; 2]).await;
        sandbox.break_provider(0, "cut;after=5");
        sandbox.break_provider(1, "reject_prefill");
        let client = check_told(&sandbox, anthropic, asked(anthropic), "failed").await;
        assert!(whole().starts_with(&client.text) && !client.text.is_empty());
        assert_eq!(sandbox.seen(1).len(), 1);
    }
}

#[tokio::test]
async fn one_that_refuses_to_go_on_is_left_for_the_next() {
    let targets = ["first/up-first", "second/up-second", "second/up-third"];
    let sandbox = continuing([KINDS[0]; 2], &targets, Some(Prefill::LastMessage)).await;
    sandbox.break_provider(0, "cut;after=5");
    break_model(&sandbox, 1, "up-second", "reject_prefill");
    let client = read(false, &sandbox.chat(asked(false)).await.body);
    assert_eq!((client.text, client.error), (whole(), None));
}

#[tokio::test]
async fn who_does_not_say_that_it_can_is_not_asked_to_go_on() {
    let targets = ["first/up-first", "second/up-second"];
    for (codec, prefill) in [(KINDS[0], None), (KINDS[1], Some(Prefill::No))] {
        let sandbox = continuing([codec; 2], &targets, prefill).await;
        sandbox.break_provider(0, "cut;after=5");
        check_told(&sandbox, false, asked(false), "no_target").await;
        assert!(sandbox.seen(1).is_empty());
    }
    let sandbox = continuing([KINDS[1]; 2], &targets, None).await;
    sandbox.break_provider(0, "cut;after=5");
    assert_eq!(read(false, &sandbox.chat(asked(false)).await.body).text, whole(), "the API's own way");
}

#[tokio::test]
async fn nobody_else_to_ask_is_told() {
    let sandbox = continuing([KINDS[0]; 2], &["first/up-first"], Some(Prefill::LastMessage)).await;
    sandbox.break_provider(0, "cut;after=5");
    check_told(&sandbox, true, asked(true), "no_target").await;
    assert_eq!(sandbox.seen(0).len(), 1, "not the one that has died");
}

#[tokio::test]
async fn a_tool_call_is_never_continued() {
    for codec in KINDS {
        for anthropic in [false, true] {
            let sandbox = two([codec; 2]).await;
            sandbox.break_provider(0, "cut;after=1");
            let mut body = asked(anthropic);
            let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
            if anthropic {
                body["tools"] = json!([{"name": "weather", "input_schema": schema}]);
                body["tool_choice"] = json!({"type": "any"});
            } else {
                let function = json!({"name": "weather", "parameters": schema});
                body["tools"] = json!([{"type": "function", "function": function}]);
                body["tool_choice"] = "required".into();
            }
            check_told(&sandbox, anthropic, body, "not_text").await;
            assert!(sandbox.seen(1).is_empty());
        }
    }
}

#[tokio::test]
async fn a_stream_may_go_on_twice_and_no_more() {
    let targets = ["first/up-first", "second/up-second", "first/up-third", "second/up-fourth"];
    for anthropic in [false, true] {
        let sandbox = continuing(KINDS, &targets, Some(Prefill::LastMessage)).await;
        break_model(&sandbox, 0, "up-first", "cut;after=5");
        break_model(&sandbox, 1, "up-second", "end;after=2");
        let client = read(anthropic, &send(&sandbox, anthropic, asked(anthropic)).await.body);
        assert_eq!((client.text, client.error, client.beginnings), (whole(), None, 1));
        assert_eq!((client.output_tokens, client.reasons.len()), (Some(u64::from(TOKENS)), 1));

        let sandbox = continuing(KINDS, &targets, Some(Prefill::LastMessage)).await;
        break_model(&sandbox, 0, "up-first", "cut;after=5");
        break_model(&sandbox, 1, "up-second", "end;after=2");
        break_model(&sandbox, 0, "up-third", "cut;after=1");
        let client = check_told(&sandbox, anthropic, asked(anthropic), "not_continued").await;
        assert_eq!(client.text, meridian_sim::expected_text("up-first", "hello there", 8));
        assert_eq!(sandbox.seen(1).len(), 1);
    }
}

#[tokio::test]
async fn the_clients_token_limit_holds_for_all_parts_together() {
    for anthropic in [false, true] {
        let sandbox = two(KINDS).await;
        sandbox.break_provider(0, "cut;after=5");
        let mut body = asked(anthropic);
        body["max_tokens"] = 8.into();
        let client = read(anthropic, &send(&sandbox, anthropic, body).await.body);
        assert_eq!(client.text, meridian_sim::expected_text("up-first", "hello there", 8));
        assert_eq!(client.reasons, [if anthropic { "max_tokens" } else { "length" }]);
        assert_eq!(client.output_tokens, Some(8));
    }
}

#[tokio::test]
async fn residency_holds_for_whoever_goes_on() {
    let sandbox = two([KINDS[0]; 2]).await;
    sandbox.break_provider(0, "cut;after=5");
    let body = asked(false);
    let request = sandbox.request(&body).header("x-data-region", "US");
    let answer = sandbox.whole(request.body(http_body_util::Full::new(body.to_string().into())).unwrap()).await;
    assert!(read(false, &answer.body).error.is_some());
    assert!(sandbox.seen(1).is_empty(), "the second one is in the EU");
}

#[tokio::test]
async fn a_client_that_leaves_while_another_is_asked_cancels_that_too() {
    let sandbox = two([KINDS[0]; 2]).await;
    sandbox.break_provider(0, "cut;after=5");
    sandbox.break_provider(1, "hang");
    let mut body = sandbox.stream(asked(false)).await.into_body();
    let asked_second = async {
        while sandbox.seen(1).is_empty() {
            let _ = timeout(std::time::Duration::from_millis(5), body.frame()).await;
        }
    };
    timeout(PATIENCE, asked_second).await.expect("the second one is asked");
    drop(body);
    eventually("cancelled upstream", || sandbox.seen(1)[0].outcome == Outcome::Cancelled).await;
    eventually("its place is free", || sandbox.node.in_flight() == 0).await;
    assert!(sandbox.node.serving().report().errors.is_empty(), "a client that leaves is no error");
}
