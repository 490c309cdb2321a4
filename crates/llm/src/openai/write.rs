//! Writes canonical stream events and answers in OpenAI's shape, for upstreams that speak another dialect.

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::{ChatResponse, StreamEvent, Usage, json};

/// Writes chunks that share one id, one time and one model, as the dialect demands.
#[derive(Debug, Clone)]
pub struct ChunkWriter {
    id: String,
    model: String,
    created: u64,
    include_usage: bool,
}

impl ChunkWriter {
    /// `created` is Unix time in seconds. With `include_usage` every chunk says `"usage":null` until the last.
    #[must_use]
    pub const fn new(id: String, model: String, created: u64, include_usage: bool) -> Self {
        Self { id, model, created, include_usage }
    }

    /// Appends `event` as one server-sent event. Usage is written only if the client asked for it.
    pub fn write(&self, out: &mut BytesMut, event: &StreamEvent<'_>) {
        let (delta, finish_reason) = match event {
            StreamEvent::Start => (Delta { role: Some("assistant"), content: Some(""), ..Delta::default() }, None),
            StreamEvent::Text(text) => (Delta { content: Some(text), ..Delta::default() }, None),
            StreamEvent::Reasoning(text) => (Delta { reasoning_content: Some(text), ..Delta::default() }, None),
            StreamEvent::ToolCallStart { index, id, name } => {
                let function = Function { name: Some(name), arguments: "" };
                (Delta::call(Call { index: *index, id: Some(id), kind: Some("function"), function }), None)
            }
            StreamEvent::ToolCallArguments { index, fragment } => {
                let function = Function { name: None, arguments: fragment };
                (Delta::call(Call { index: *index, id: None, kind: None, function }), None)
            }
            StreamEvent::Finish(reason) => (Delta::default(), Some(reason.as_openai())),
            StreamEvent::Usage(usage) => {
                if self.include_usage {
                    self.chunk(out, &[], Some(Some(UsageBody::from(usage))));
                }
                return;
            }
        };
        self.chunk(out, &[Choice { index: 0, delta, logprobs: (), finish_reason }], self.include_usage.then_some(None));
    }

    fn chunk(&self, out: &mut BytesMut, choices: &[Choice<'_>], usage: Option<Option<UsageBody>>) {
        let object = "chat.completion.chunk";
        let chunk = Chunk { id: &self.id, object, created: self.created, model: &self.model, choices, usage };
        meridian_sse::write_data(out, &json::to_bytes(&chunk));
    }
}

/// Writes a whole answer. `created` is Unix time in seconds.
#[must_use]
pub fn response_body(response: &ChatResponse<'_>, created: u64) -> Bytes {
    let tool_calls: Vec<_> = response
        .tool_calls
        .iter()
        .map(|(id, name, arguments)| WholeCall { id, kind: "function", function: WholeFunction { name, arguments } })
        .collect();
    let message = WholeMessage {
        role: "assistant",
        content: response.text.as_deref(),
        refusal: (),
        reasoning_content: response.reasoning.as_deref(),
        tool_calls,
    };
    json::to_bytes(&Answer {
        id: &response.id,
        object: "chat.completion",
        created,
        model: &response.model,
        choices: [WholeChoice { index: 0, message, logprobs: (), finish_reason: response.finish.as_openai() }],
        usage: UsageBody::from(&response.usage),
    })
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageBody>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: (),
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
}

impl<'a> Delta<'a> {
    fn call(call: Call<'a>) -> Self {
        Self { tool_calls: Some([call]), ..Self::default() }
    }
}

#[derive(Serialize)]
struct Call<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [WholeChoice<'a>; 1],
    usage: UsageBody,
}

#[derive(Serialize)]
struct WholeChoice<'a> {
    index: u32,
    message: WholeMessage<'a>,
    logprobs: (),
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct WholeMessage<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: (),
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WholeCall<'a>>,
}

#[derive(Serialize)]
struct WholeCall<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: WholeFunction<'a>,
}

#[derive(Serialize)]
struct WholeFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<&Usage> for UsageBody {
    fn from(usage: &Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens(),
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_tokens,
                cache_write_tokens: usage.cache_write_tokens,
            },
            completion_tokens_details: CompletionDetails { reasoning_tokens: usage.reasoning_tokens },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FinishReason;
    use crate::openai::{ChunkData, inspect_chunk};

    #[track_caller]
    fn check(event: &StreamEvent<'_>, rest: &str) {
        let mut out = BytesMut::new();
        ChunkWriter::new("msg_1".into(), "m".into(), 7, true).write(&mut out, event);
        let head = r#"{"id":"msg_1","object":"chat.completion.chunk","created":7,"model":"m","choices":"#;
        assert_eq!(std::str::from_utf8(&out).unwrap(), format!("data: {head}{rest}}}\n\n"));
        let data = out.strip_prefix(b"data: ").unwrap();
        let ChunkData::Chunk(facts) = inspect_chunk(data).unwrap() else { panic!("not a chunk") };
        assert_eq!(facts.content, event.is_content());
    }

    #[test]
    fn every_event_has_its_chunk() {
        let choice = |delta: &str, finish: &str| {
            format!(r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}],"usage":null"#)
        };
        check(&StreamEvent::Start, &choice(r#"{"role":"assistant","content":""}"#, "null"));
        check(&StreamEvent::Text("a\n".into()), &choice(r#"{"content":"a\n"}"#, "null"));
        check(&StreamEvent::Reasoning("hm".into()), &choice(r#"{"reasoning_content":"hm"}"#, "null"));
        check(
            &StreamEvent::ToolCallStart { index: 1, id: "c".into(), name: "f".into() },
            &choice(
                r#"{"tool_calls":[{"index":1,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}"#,
                "null",
            ),
        );
        check(
            &StreamEvent::ToolCallArguments { index: 1, fragment: "{\"a".into() },
            &choice(r#"{"tool_calls":[{"index":1,"function":{"arguments":"{\"a"}}]}"#, "null"),
        );
        check(&StreamEvent::Finish(FinishReason::Length), &choice("{}", "\"length\""));
        check(
            &StreamEvent::Usage(Usage { prompt_tokens: 1, completion_tokens: 2, ..Usage::default() }),
            r#"[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#,
        );
    }

    #[test]
    fn usage_is_not_shown_to_a_client_that_did_not_ask() {
        let mut out = BytesMut::new();
        let writer = ChunkWriter::new("i".into(), "m".into(), 7, false);
        writer.write(&mut out, &StreamEvent::Usage(Usage::default()));
        assert!(out.is_empty());
        writer.write(&mut out, &StreamEvent::Start);
        assert!(!out.windows(5).any(|w| w == b"usage"));
    }
}
