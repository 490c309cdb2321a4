//! The limit to an answer's tokens, by the name that each upstream knows.

use meridian_llm::Endpoint;
use meridian_providers::name_token_limit;
use meridian_types::provider::TokenLimit;
use serde_json::{Value, json};

use crate::support::{provider, request_to};

/// The limits in what `codec` sends, for clients of either dialect.
fn limits(codec: &str, configured: Option<TokenLimit>, asked: &str) -> Vec<Value> {
    let messages = json!([{"role": "user", "content": "hi"}]);
    let endpoints = [(Endpoint::ChatCompletions, asked), (Endpoint::Messages, "max_tokens")];
    let limits = |(endpoint, name): (Endpoint, &str)| {
        let asked = json!({"model": "m", name: 9, "messages": messages}).to_string();
        let codec = provider(codec);
        let request = codec.chat_request(&request_to(endpoint, &asked), "up").unwrap();
        let request = name_token_limit(codec, configured, request);
        let mut body: Value = serde_json::from_slice(&request.body).unwrap();
        body.as_object_mut().unwrap().retain(|name, _| name.starts_with("max_"));
        body
    };
    endpoints.into_iter().map(limits).collect()
}

#[test]
fn an_upstream_hears_the_name_that_it_knows_whichever_the_client_used() {
    let (older, newer) = (json!({"max_tokens": 9}), json!({"max_completion_tokens": 9}));
    let openai = "openai_compatible";
    for asked in ["max_tokens", "max_completion_tokens"] {
        assert_eq!(limits(openai, Some(TokenLimit::MaxTokens), asked), [&older, &older].map(Clone::clone));
        assert_eq!(limits(openai, Some(TokenLimit::MaxCompletionTokens), asked), [&newer, &newer].map(Clone::clone));
        assert_eq!(limits(openai, None, asked), [json!({asked: 9}), newer.clone()]);
        for any in [None, Some(TokenLimit::MaxCompletionTokens)] {
            assert_eq!(limits("anthropic", any, asked), [&older, &older].map(Clone::clone));
        }
    }
}
