//! From a Messages request to chat completions.

use bytes::Bytes;
use meridian_llm::{ChatRequest, ClientError, ClientRequest, ResponseFormat, Tool, ToolChoice, json};

use super::{turns, wire};

/// Longest `user` that OpenAI takes. Agents put longer ones into `metadata.user_id`.
const MAX_USER_BYTES: usize = 64;

/// Most stop texts that OpenAI takes.
const MAX_STOPS: usize = 4;

/// The body, and the names of what was left out.
pub(in super::super) fn build(
    request: &ClientRequest,
    upstream_model: &str,
) -> Result<(Bytes, Vec<String>), ClientError> {
    let mut chat = request.canonical()?;
    let mut adjusted = std::mem::take(&mut chat.unknown);
    let body = translate(chat, upstream_model, &mut adjusted)?;
    Ok((json::to_bytes(&body), adjusted))
}

fn translate<'a>(
    chat: ChatRequest<'a>,
    model: &'a str,
    adjusted: &mut Vec<String>,
) -> Result<wire::Request<'a>, ClientError> {
    if chat.sampling.stop.len() > MAX_STOPS {
        return Err(ClientError::unsupported("stop_sequences", "this model takes at most 4"));
    }
    let user = chat.end_user.filter(|id| {
        let fits = id.len() <= MAX_USER_BYTES;
        if !fits {
            adjusted.push("metadata.user_id".to_owned());
        }
        fits
    });
    let has_tools = !chat.tools.is_empty();
    Ok(wire::Request {
        model,
        messages: turns::translate(chat.messages)?,
        // The older `max_tokens` is refused by OpenAI's reasoning models.
        max_completion_tokens: chat.sampling.max_tokens,
        temperature: chat.sampling.temperature,
        top_p: chat.sampling.top_p,
        stop: chat.sampling.stop,
        tools: chat.tools.into_iter().map(tool).collect(),
        // Without tools both are errors there.
        tool_choice: chat.tool_choice.filter(|_| has_tools).map(tool_choice),
        parallel_tool_calls: chat.parallel_tool_calls.filter(|_| has_tools),
        response_format: response_format(&chat.response_format)?,
        user,
        stream: chat.stream,
        // Without the upstream's own count there is no honest usage.
        stream_options: chat.stream.then_some(wire::StreamOptions { include_usage: true }),
    })
}

fn tool(tool: Tool<'_>) -> wire::Tool<'_> {
    let Tool { name, description, parameters, strict } = tool;
    wire::Tool { kind: "function", function: wire::Declaration { name, description, parameters, strict } }
}

fn tool_choice(choice: ToolChoice<'_>) -> wire::ToolChoice<'_> {
    match choice {
        ToolChoice::Auto => wire::ToolChoice::Mode("auto"),
        ToolChoice::None => wire::ToolChoice::Mode("none"),
        ToolChoice::Required => wire::ToolChoice::Mode("required"),
        ToolChoice::Function(name) => wire::ToolChoice::Function { kind: "function", function: wire::Name { name } },
    }
}

fn response_format<'a>(format: &ResponseFormat<'a>) -> Result<Option<wire::ResponseFormat<'a>>, ClientError> {
    match format {
        ResponseFormat::Text => Ok(None),
        ResponseFormat::JsonSchema(schema) => {
            let json_schema = wire::JsonSchema { name: "answer", strict: true, schema };
            Ok(Some(wire::ResponseFormat { kind: "json_schema", json_schema }))
        }
        // No dialect that is translated has it.
        ResponseFormat::JsonObject => Err(ClientError::unsupported("output_config.format", "must be json_schema")),
    }
}
