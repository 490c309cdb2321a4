//! Every fault, asked for by header, as its victim sees it.

use std::time::Duration;

use http::StatusCode;
use meridian_sim::expected_text;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Sim, ask, eventually};

const LONG: Duration = Duration::from_millis(100);

/// Reads until the end of a connection on which one chat with this fault was sent.
async fn raw(sim: &Sim, fault: &str) -> (Vec<u8>, std::io::Result<()>) {
    let mut socket = TcpStream::connect(sim.address).await.unwrap();
    let body = ask("hi", false).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer k\r\nx-sim-fault: {fault}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let end = socket.read_to_end(&mut read).await.map(drop);
    (read, end)
}

#[tokio::test]
async fn latency_holds_everything_and_first_token_only_the_content() {
    let sim = Sim::instant().await;
    let got = sim.chat("latency;ms=100", ask("hi", true)).await.unwrap();
    assert!(got.frames[0].0 >= LONG);
    let got = sim.chat("first_token;ms=300;ping_ms=100", ask("hi", true)).await.unwrap();
    assert!(got.frames[0].0 < LONG, "{:?}", got.frames[0].0);
    let content = got.frames.iter().find(|(_, bytes)| bytes.windows(9).any(|window| window == b"Simulated")).unwrap();
    assert!(content.0 >= Duration::from_millis(300));
    let text = String::from_utf8(got.bytes()).unwrap();
    assert_eq!(text.matches(": keep-alive\n\n").count(), 2);
    let got = sim.chat("gap;ms=50", ask("tokens=4", true)).await.unwrap();
    assert!(got.frames.last().unwrap().0 >= Duration::from_millis(150));
    let got = sim.chat("gap;ms=250;ping_ms=100", ask("tokens=2", true)).await.unwrap();
    assert_eq!(String::from_utf8(got.bytes()).unwrap().matches(": keep-alive\n\n").count(), 2);
}

#[tokio::test]
async fn errors_have_status_retry_after_and_the_providers_body() {
    let sim = Sim::instant().await;
    for (fault, status, openai, anthropic) in [
        ("error;status=429;retry_after=2", 429, json!("rate_limit_exceeded"), "rate_limit_error"),
        ("error;status=529", 529, Value::Null, "overloaded_error"),
        ("error;status=401", 401, json!("invalid_api_key"), "authentication_error"),
        ("error;status=500", 500, Value::Null, "api_error"),
        ("error;status=503", 503, Value::Null, "overloaded_error"),
        ("error;kind=context_length", 400, json!("context_length_exceeded"), "invalid_request_error"),
        ("error;kind=content_filter", 400, json!("content_filter"), "invalid_request_error"),
    ] {
        let got = sim.chat(fault, ask("hi", true)).await.unwrap();
        assert_eq!((got.status.as_u16(), &got.json()["error"]["code"]), (status, &openai), "{fault}");
        let got = sim.messages(fault, ask("hi", true)).await.unwrap();
        assert_eq!((got.status.as_u16(), &got.json()["error"]["type"]), (status, &json!(anthropic)), "{fault}");
    }
    let got = sim.chat("error;status=429;retry_after=2;retry_after_ms=1500", ask("hi", false)).await.unwrap();
    assert_eq!((got.header("retry-after"), got.header("retry-after-ms")), ("2", "1500"));
    assert_eq!(sim.messages("error;kind=overloaded", ask("hi", false)).await.unwrap().status.as_u16(), 529);
    assert_eq!(sim.chat("error;kind=overloaded", ask("hi", false)).await.unwrap().status.as_u16(), 503);
}

#[tokio::test]
async fn refuse_resets_empty_closes_and_garbage_is_no_http() {
    let sim = Sim::instant().await;
    let (read, end) = raw(&sim, "refuse").await;
    assert!(read.is_empty());
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let (read, end) = raw(&sim, "empty").await;
    assert!(read.is_empty() && end.is_ok());
    let (read, end) = raw(&sim, "garbage").await;
    assert!(!read.is_empty() && !read.starts_with(b"HTTP") && end.is_ok());
    assert_eq!(sim.simulator.stats().requests.broken, 3);
}

#[tokio::test]
async fn a_hanging_request_is_cancelled_by_its_client() {
    let sim = Sim::instant().await;
    let hang = sim.chat("hang", ask("hi", false));
    assert!(tokio::time::timeout(LONG, hang).await.is_err());
    eventually("cancelled", || sim.simulator.stats().requests.cancelled == 1).await;
    assert_eq!(sim.simulator.stats().requests.in_flight, 0);
}

#[tokio::test]
async fn a_stall_is_silence_after_some_tokens() {
    let sim = Sim::instant().await;
    let got = sim.chat("stall;after=3;ms=200", ask("hi", true)).await.unwrap();
    assert!(got.frames.last().unwrap().0 >= Duration::from_millis(200) && got.has_done());
    assert_eq!(got.text(), expected_text("m", "hi", 24));
    let endless = sim.messages("stall;after=3", ask("hi", true));
    assert!(tokio::time::timeout(LONG, endless).await.is_err());
    eventually("cancelled", || sim.simulator.stats().requests.cancelled == 1).await;
    let document = sim.chat("stall", ask("hi", false));
    assert!(tokio::time::timeout(LONG, document).await.is_err());
}

#[tokio::test]
async fn a_cut_comes_after_exactly_so_many_tokens() {
    let sim = Sim::instant().await;
    for fault in ["cut;after=5", "truncate;after=5"] {
        let got = sim.chat(fault, ask("hi", true)).await.unwrap();
        assert!(got.broken && got.text().starts_with(&expected_text("m", "hi", 5)), "{fault}");
        let (last, whole) = (got.events().pop().unwrap(), got.events().len());
        assert_eq!(last.is_null(), fault.starts_with("truncate"), "{fault}");
        assert_eq!(whole, if last.is_null() { 7 } else { 6 }, "{fault}");
        let got = sim.messages(fault, ask("hi", true)).await.unwrap();
        assert!(got.broken && got.text() == expected_text("m", "hi", 5), "{fault}");
        let got = sim.chat(fault, ask("hi", false)).await.unwrap();
        let declared: usize = got.header("content-length").parse().unwrap();
        assert!(got.broken && got.bytes().len() == declared / 2, "{fault}");
    }
    let (read, end) = raw(&sim, "cut;how=reset").await;
    assert!(read.starts_with(b"HTTP/1.1 200") && end.is_err());
}

#[tokio::test]
async fn an_early_end_is_clean_and_says_no_reason() {
    let sim = Sim::instant().await;
    let got = sim.chat("end;after=4", ask("hi", true)).await.unwrap();
    assert!(!got.broken && !got.has_done());
    assert_eq!(got.text(), expected_text("m", "hi", 4));
    assert!(got.events().iter().all(|event| event["choices"][0]["finish_reason"].is_null()));
}

#[tokio::test]
async fn an_end_mark_may_come_early_without_a_reason() {
    let sim = Sim::instant().await;
    for after in [0, 4] {
        let got = sim.chat(&format!("no_finish;after={after}"), ask("hi", true)).await.unwrap();
        assert!(!got.broken && got.has_done());
        assert_eq!(got.text(), expected_text("m", "hi", after));
        assert!(got.events().iter().all(|event| event["choices"][0]["finish_reason"].is_null()));
        let got = sim.messages(&format!("no_finish;after={after}"), ask("hi", true)).await.unwrap();
        assert_eq!(got.events().last().unwrap()["type"], "message_stop");
        assert!(got.events().iter().all(|event| event["type"] != "message_delta"));
    }
}

#[tokio::test]
async fn malformed_bodies_and_events_are_malformed_and_nothing_else() {
    let sim = Sim::instant().await;
    for stream in [false, true] {
        let got = sim.chat("bad_json", ask("hi", stream)).await.unwrap();
        assert_eq!((got.status, got.broken), (StatusCode::OK, false));
        assert!(serde_json::from_slice::<Value>(&got.bytes()).is_err());
    }
    let got = sim.chat("bad_sse;after=2", ask("hi", true)).await.unwrap();
    assert!(got.events()[3].is_null() && got.has_done());
    assert_eq!(got.events().iter().filter(|event| event.is_null()).count(), 1);
    assert_eq!(got.text(), expected_text("m", "hi", 24));
    let got = sim.chat("no_done", ask("hi", true)).await.unwrap();
    assert!(!got.has_done() && !got.broken);
    assert_eq!(got.events().last().unwrap()["choices"][0]["finish_reason"], "stop");
    let got = sim.messages("no_done", ask("hi", true)).await.unwrap();
    assert_eq!(got.events().last().unwrap()["type"], "message_delta");
}

#[tokio::test]
async fn a_wrong_length_is_off_by_what_was_asked() {
    let sim = Sim::instant().await;
    for delta in [-10_i64, 10] {
        let (read, _) = raw(&sim, &format!("wrong_length;delta={delta}")).await;
        let text = String::from_utf8(read).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let declared = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert_eq!(declared.parse::<i64>().unwrap(), i64::try_from(body.len()).unwrap() + delta);
    }
    let got = sim.chat("wrong_length;delta=50", ask("hi", true)).await.unwrap();
    assert!(got.broken && got.has_done());
}

#[tokio::test]
async fn an_error_inside_200_comes_before_or_after_content_and_ends_the_stream() {
    let sim = Sim::instant().await;
    for after in [0, 5] {
        let fault = format!("error_event;after={after}");
        let got = sim.chat(&fault, ask("hi", true)).await.unwrap();
        assert_eq!((got.status, got.pieces()), (StatusCode::OK, after));
        assert_eq!(got.events().last().unwrap()["error"]["type"], "server_error");
        assert!(!got.has_done() && !got.broken);
        let got = sim.messages(&fault, ask("hi", true)).await.unwrap();
        assert_eq!(got.pieces(), after);
        let text = String::from_utf8(got.bytes()).unwrap();
        assert!(text.contains("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\""));
    }
    let got = sim.chat("error_event;kind=quota", ask("hi", false)).await.unwrap();
    assert_eq!((got.status, &got.json()["error"]["code"]), (StatusCode::OK, &json!("insufficient_quota")));
}

#[tokio::test]
async fn a_drip_keeps_its_rate() {
    let sim = Sim::instant().await;
    let got = sim.chat("drip;bytes_per_s=4000", ask("tokens=1", false)).await.unwrap();
    let (length, took) = (got.bytes().len(), got.frames.last().unwrap().0);
    assert!(got.frames.iter().all(|(_, bytes)| bytes.len() <= 400));
    let expected = Duration::from_millis(100) * u32::try_from(length.div_ceil(400) - 1).unwrap();
    assert!(took >= expected, "{length} bytes in {took:?}, expected {expected:?}");
    assert!(serde_json::from_slice::<Value>(&got.bytes()).is_ok());
}

#[tokio::test]
async fn an_emoji_is_cut_between_two_writes_or_into_lone_surrogates() {
    let sim = Sim::instant().await;
    for stream in [true, false] {
        let got = sim.chat("emoji;after=2", ask("hi", stream)).await.unwrap();
        assert!(String::from_utf8(got.bytes()).unwrap().contains(" \u{1F30D}"));
        let mut halves = got.frames.windows(2).map(|pair| (&pair[0].1, &pair[1].1));
        assert!(halves.any(|(one, two)| one.ends_with(b"\xF0\x9F") && two.starts_with(b"\x8C\x8D")), "{stream}");
    }
    let got = sim.chat("emoji;after=2;how=surrogates", ask("hi", true)).await.unwrap();
    let text = String::from_utf8(got.bytes()).unwrap();
    assert!(text.contains(r#"{"content":" \ud83c"}"#) && text.contains(r#"{"content":"\udf0d"}"#));
}

#[tokio::test]
async fn the_remaining_ones_do_what_they_say() {
    let sim = Sim::instant().await;
    let first = sim.chat("prompt_filter", ask("hi", true)).await.unwrap().events().remove(0);
    assert!(first["choices"].as_array().unwrap().is_empty() && first["prompt_filter_results"].is_array());
    let mut body = ask("a b c", false);
    let said = expected_text("m", "a b c", 6);
    body["messages"].as_array_mut().unwrap().push(json!({ "role": "assistant", "content": said }));
    let got = sim.messages("reject_prefill", body.clone()).await.unwrap();
    assert_eq!(got.status.as_u16(), 400);
    assert!(got.json()["error"]["message"].as_str().unwrap().contains("prefill"));
    assert_eq!(sim.chat("reject_prefill", body.clone()).await.unwrap().status.as_u16(), 400);
    assert_eq!(sim.chat("reject_prefill", ask("hi", false)).await.unwrap().status, StatusCode::OK);
    let rest = sim.messages("", body).await.unwrap().json()["content"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(said + &rest, expected_text("m", "a b c", 24));
    let got = sim.chat("refusal;after=2", ask("hi", false)).await.unwrap().json();
    assert_eq!(got["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(got["choices"][0]["message"]["content"], "Simulated reply");
    assert_eq!(sim.messages("refusal", ask("hi", false)).await.unwrap().json()["stop_reason"], "refusal");
}

#[tokio::test]
async fn a_model_name_can_carry_a_fault_and_the_header_wins() {
    let sim = Sim::instant().await;
    let mut body = ask("hi", false);
    body["model"] = json!("gpt-sim-fault-error;status=503");
    assert_eq!(sim.chat("", body.clone()).await.unwrap().status.as_u16(), 503);
    assert_eq!(sim.chat("error;status=418", body).await.unwrap().status.as_u16(), 418);
}

#[tokio::test]
async fn a_fault_that_is_not_understood_is_501_and_says_why() {
    let sim = Sim::instant().await;
    for (fault, expected) in [
        ("hang;x", "simulator: x-sim-fault: fault \"hang\" takes no \"x\"; it takes no argument"),
        (
            "latency;from_ms=0;to_ms=1;over_ms=1",
            "simulator: x-sim-fault: a latency ramp needs a rule: a single request has no start to ramp from",
        ),
    ] {
        let got = sim.chat(fault, ask("hi", false)).await.unwrap();
        assert_eq!((got.status.as_u16(), &got.json()["error"]["message"]), (501, &json!(expected)));
    }
}
