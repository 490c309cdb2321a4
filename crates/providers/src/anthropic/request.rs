//! A client's Messages request with another model name; or one made of a chat completions request.

use std::borrow::Cow;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use meridian_llm::{
    ChatRequest, ClientError, ClientRequest, Dialect, Endpoint, ResponseFormat, Sampling, Tool, ToolChoice, json,
};
use serde_json::value::RawValue;

use super::{turns, wire};
use crate::UpstreamRequest;

/// The dialect's version: <https://platform.claude.com/docs/en/api/versioning>.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// `max_tokens` is required there and optional here. Every current model allows this many output tokens, and it is
/// more than chat answers use; who wants more says so.
const DEFAULT_MAX_TOKENS: u64 = 8192;

pub(super) fn build(request: &ClientRequest, upstream_model: &str) -> Result<UpstreamRequest, ClientError> {
    match request.dialect() {
        Dialect::Anthropic => Ok(passed_on(request, upstream_model)),
        Dialect::OpenAi => translated(request, upstream_model),
    }
}

/// The client's own bytes. Its betas and its version of the dialect go with them.
fn passed_on(request: &ClientRequest, upstream_model: &str) -> UpstreamRequest {
    let path = match request.endpoint() {
        Endpoint::CountTokens => "/messages/count_tokens",
        Endpoint::Messages | Endpoint::ChatCompletions => "/messages",
    };
    let mut headers = headers(request.head().stream);
    for name in request.headers().keys() {
        headers.remove(name);
        for value in request.headers().get_all(name) {
            headers.append(name, value.clone());
        }
    }
    UpstreamRequest {
        method: Method::POST,
        path_and_query: path.to_owned(),
        headers,
        body: request.rewritten(upstream_model),
        adjusted: Vec::new(),
    }
}

fn translated(request: &ClientRequest, upstream_model: &str) -> Result<UpstreamRequest, ClientError> {
    let mut chat = request.canonical()?;
    let mut adjusted = std::mem::take(&mut chat.unknown);
    let stream = chat.stream;
    let body = translate(chat, upstream_model, &mut adjusted)?;
    Ok(UpstreamRequest {
        method: Method::POST,
        path_and_query: "/messages".to_owned(),
        headers: headers(stream),
        body: json::to_bytes(&body),
        adjusted,
    })
}

/// Headers of every request: the version is required even to list models.
pub(super) fn headers(stream: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static(if stream { "text/event-stream" } else { "application/json" }));
    headers.insert("anthropic-version", VERSION);
    headers
}

fn translate<'a>(
    chat: ChatRequest<'a>,
    model: &'a str,
    adjusted: &mut Vec<String>,
) -> Result<wire::Request<'a>, ClientError> {
    let (system, messages) = turns::translate(chat.messages)?;
    let output_config = output_config(&chat.response_format)?;
    let tool_choice = tool_choice(chat.tool_choice, chat.parallel_tool_calls, !chat.tools.is_empty());
    let sampling = sampling(chat.sampling, adjusted);
    Ok(wire::Request {
        model,
        max_tokens: sampling.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
        system,
        messages,
        tools: chat.tools.into_iter().map(tool).collect::<Result<_, _>>()?,
        tool_choice,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        stop_sequences: sampling.stop,
        output_config,
        metadata: chat.end_user.map(|user_id| wire::Metadata { user_id }),
        stream: chat.stream,
    })
}

fn output_config<'a>(format: &ResponseFormat<'a>) -> Result<Option<wire::OutputConfig<'a>>, ClientError> {
    match format {
        ResponseFormat::Text => Ok(None),
        ResponseFormat::JsonSchema(schema) => {
            Ok(Some(wire::OutputConfig { format: wire::OutputFormat { kind: "json_schema", schema } }))
        }
        // The API has no such mode, and asking in words is no promise.
        ResponseFormat::JsonObject => {
            Err(ClientError::unsupported("response_format.type", "this model supports json_schema, not json_object"))
        }
    }
}

fn tool(tool: Tool<'_>) -> Result<wire::Tool<'_>, ClientError> {
    let input_schema = match tool.parameters {
        Some(schema) => Cow::Borrowed(schema),
        None => RawValue::from_string(r#"{"type":"object","properties":{}}"#.to_owned())
            .map(Cow::Owned)
            .map_err(|_| ClientError::invalid("tools", "a schema is required"))?,
    };
    Ok(wire::Tool { name: tool.name, description: tool.description, input_schema, strict: tool.strict })
}

/// Without tools a choice is an error there and a no-op here, so it is left out.
fn tool_choice(
    choice: Option<ToolChoice<'_>>,
    parallel: Option<bool>,
    has_tools: bool,
) -> Option<wire::ToolChoice<'_>> {
    if !has_tools {
        return None;
    }
    let one_at_a_time = (parallel == Some(false)).then_some(true);
    let of = |kind, name| Some(wire::ToolChoice { kind, name, disable_parallel_tool_use: one_at_a_time });
    match choice {
        None if one_at_a_time.is_none() => None,
        None | Some(ToolChoice::Auto) => of("auto", None),
        Some(ToolChoice::Required) => of("any", None),
        Some(ToolChoice::Function(name)) => of("tool", Some(name)),
        Some(ToolChoice::None) => Some(wire::ToolChoice { kind: "none", name: None, disable_parallel_tool_use: None }),
    }
}

fn sampling<'a>(mut sampling: Sampling<'a>, adjusted: &mut Vec<String>) -> Sampling<'a> {
    // The scale ends at 1 there and at 2 here.
    if sampling.temperature.is_some_and(|t| t > 1.0) {
        sampling.temperature = Some(1.0);
        adjusted.push("temperature".to_owned());
    }
    // Newer models refuse both together; temperature is the one people mean.
    if sampling.temperature.is_some() && sampling.top_p.take().is_some() {
        adjusted.push("top_p".to_owned());
    }
    // Stop texts of white space only are refused there.
    let before = sampling.stop.len();
    sampling.stop.retain(|text| !text.trim().is_empty());
    if sampling.stop.len() != before {
        adjusted.push("stop".to_owned());
    }
    sampling
}
