//! An answer that has begun elsewhere, as each kind of upstream is asked to go on with it.

use meridian_llm::{Begun, Endpoint};
use meridian_providers::{can_continue, continue_request};
use meridian_types::model::Prefill;
use serde_json::{Value, json};

use crate::support::{provider, request_to};

const BEGUN: Begun<'static> = Begun { text: "It is", tokens: 2 };

/// The body that `codec` sends, for clients of either dialect.
fn bodies(codec: &str, configured: Option<Prefill>) -> Vec<Option<Value>> {
    let asked = json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let endpoints = [Endpoint::ChatCompletions, Endpoint::Messages];
    let body = |endpoint| {
        let codec = provider(codec);
        let request = codec.chat_request(&request_to(endpoint, &asked.to_string()), "up").unwrap();
        continue_request(codec, configured, request, BEGUN)
            .map(|request| serde_json::from_slice(&request.body).unwrap())
    };
    endpoints.into_iter().map(body).collect()
}

#[track_caller]
fn check(codec: &str, configured: Option<Prefill>, message: &Value, request: &Value) {
    for body in bodies(codec, configured) {
        let body = body.expect("it can go on");
        let messages = body["messages"].as_array().unwrap();
        assert_eq!((messages.len(), messages[0]["role"].as_str(), &messages[1]), (2, Some("user"), message), "{body}");
        let limit = body.get("max_tokens").or(body.get("max_completion_tokens"));
        assert_eq!((limit, &body["model"]), (Some(&7.into()), &"up".into()), "{body}");
        for (name, value) in request.as_object().unwrap() {
            assert_eq!(&body[name], value, "{body}");
        }
        assert_eq!(body.get("continue_final_message").is_some(), request.get("continue_final_message").is_some());
    }
}

#[test]
fn each_kind_is_told_in_its_own_way() {
    let plain = json!({"role": "assistant", "content": "It is"});
    let marked = |name: &str| json!({"role": "assistant", "content": "It is", name: true});
    let none = json!({});
    let openai = "openai_compatible";
    check(openai, Some(Prefill::LastMessage), &plain, &none);
    check(openai, Some(Prefill::PrefixField), &marked("prefix"), &none);
    check(openai, Some(Prefill::PartialField), &marked("partial"), &none);
    let vllm = json!({"continue_final_message": true, "add_generation_prompt": false});
    check(openai, Some(Prefill::ContinueFinalMessage), &plain, &vllm);
    for any in [None, Some(Prefill::LastMessage), Some(Prefill::PrefixField), Some(Prefill::ContinueFinalMessage)] {
        check("anthropic", any, &plain, &none);
    }
}

#[test]
fn who_cannot_is_not_asked() {
    for (codec, configured) in
        [("openai_compatible", None), ("openai_compatible", Some(Prefill::No)), ("anthropic", Some(Prefill::No))]
    {
        assert!(!can_continue(provider(codec), configured), "{codec} {configured:?}");
        assert_eq!(bodies(codec, configured), [None, None], "{codec} {configured:?}");
    }
}

#[test]
fn a_client_that_has_begun_the_answer_itself_is_not_continued() {
    let asked =
        json!({"model": "m", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "It"}]});
    for codec in ["openai_compatible", "anthropic"] {
        let codec = provider(codec);
        let request = codec.chat_request(&request_to(Endpoint::ChatCompletions, &asked.to_string()), "up").unwrap();
        assert!(continue_request(codec, Some(Prefill::LastMessage), request, BEGUN).is_none());
    }
}
