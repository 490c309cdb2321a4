//! Messages answers become chat completions.

use bytes::Bytes;
use meridian_llm::{ClientError, Failure, FailureClass};
use meridian_providers::ClientAnswer;

use crate::support::{context, fixture, golden, provider};

fn answer(body: &str) -> Result<ClientAnswer, Failure> {
    provider("anthropic").chat_response(&context(false), &Bytes::copy_from_slice(body.as_bytes()))
}

fn pretty(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap();
    format!("{}\n", serde_json::to_string_pretty(&value).unwrap())
}

#[test]
fn answers_are_translated_as_recorded() {
    for name in ["text_answer", "tools_answer"] {
        let translated = answer(&fixture(&format!("anthropic/{name}.json"))).unwrap();
        golden(&format!("anthropic/{name}.expected.json"), &pretty(&translated.body));
    }
}

#[test]
fn an_answer_without_content_has_an_empty_text() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}"#;
    assert!(pretty(&answer(body).unwrap().body).contains("\"content\": \"\""));
}

#[test]
fn what_is_no_whole_answer_is_a_failure() {
    for body in [
        "",
        "{}",
        "<html>",
        r#"{"id":"m","model":"m","content":[],"stop_reason":null,"usage":{}}"#,
        r#"{"id":"m","model":"m","content":[{"type":"tool_use","id":"a"}],"stop_reason":"tool_use","usage":{}}"#,
    ] {
        assert_eq!(answer(body).unwrap_err().class, FailureClass::Provider, "{body}");
    }
    let overloaded = answer(r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#);
    assert_eq!(overloaded.unwrap_err().class, FailureClass::Saturation);
}

#[test]
fn a_failure_gives_the_client_a_sentence_of_our_own() {
    let error: ClientError = answer("{}").unwrap_err().client_error();
    assert_eq!(error.status(), 502);
    assert_eq!(error.message, "the answer is not a message");
}
