//! Reads a whole Messages request into canonical form, for upstreams that speak another dialect.
//!
//! What the canonical form cannot express is either refused, naming the field (where ignoring it would change the answer's
//! shape or ground), or listed in [`ChatRequest::unknown`] (where it only tunes: caching, effort, thinking).

mod content;

use super::wire;
use crate::wire::{note, note_rest, read_body};
use crate::{ChatRequest, ClientError, Message, ResponseFormat, Sampling, Tool, ToolChoice};

/// Reads `body`.
///
/// # Errors
/// A 400 that names the field at fault.
pub fn parse_request(body: &[u8]) -> Result<ChatRequest<'_>, ClientError> {
    convert(read_body(body).map_err(dotted)?)
}

/// The API writes `messages.0.content` where others write `messages[0].content`.
fn dotted(mut error: ClientError) -> ClientError {
    error.param = error.param.map(|path| path.replace('[', ".").replace(']', ""));
    error
}

fn convert(request: wire::Request<'_>) -> Result<ChatRequest<'_>, ClientError> {
    let mut unknown = Vec::new();
    note_rest(&mut unknown, "", &request.rest);
    if request.thinking.is_some_and(|thinking| thinking.kind.0 != "disabled") {
        note(&mut unknown, "thinking".to_owned());
    }
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    if let Some(system) = request.system {
        messages.push(Message::System(content::texts(system, "system", &mut unknown)?));
    }
    for (at, turn) in request.messages.into_iter().enumerate() {
        note_rest(&mut unknown, "messages.", &turn.rest);
        content::turn(turn, at, &mut messages, &mut unknown)?;
    }
    let mut tools = Vec::new();
    for (at, offered) in request.tools.unwrap_or_default().into_iter().enumerate() {
        note_rest(&mut unknown, "tools.", &offered.rest);
        tools.push(tool(offered, at)?);
    }
    let one_at_a_time = request.tool_choice.as_ref().and_then(|choice| choice.disable_parallel_tool_use);
    Ok(ChatRequest {
        messages,
        tools,
        tool_choice: request.tool_choice.map(tool_choice).transpose()?,
        parallel_tool_calls: one_at_a_time.map(|one| !one),
        response_format: request
            .output_config
            .map_or(Ok(ResponseFormat::Text), |config| response_format(config, &mut unknown))?,
        sampling: Sampling {
            max_tokens: Some(request.max_tokens),
            temperature: request.temperature,
            top_p: request.top_p,
            stop: request.stop_sequences.unwrap_or_default().into_iter().map(|text| text.0).collect(),
        },
        end_user: request.metadata.and_then(|metadata| metadata.user_id).map(|id| id.0),
        stream: request.stream.unwrap_or(false),
        unknown,
    })
}

fn tool(tool: wire::Tool<'_>, at: usize) -> Result<Tool<'_>, ClientError> {
    if tool.kind.is_some_and(|kind| kind.0 != "custom") {
        return Err(ClientError::unsupported(
            format!("tools.{at}"),
            "the provider's own tools are not supported by this model",
        ));
    }
    Ok(Tool {
        name: tool.name.0,
        description: tool.description.map(|text| text.0),
        parameters: tool.input_schema,
        strict: tool.strict,
    })
}

fn tool_choice(choice: wire::ToolChoice<'_>) -> Result<ToolChoice<'_>, ClientError> {
    match (&*choice.kind.0, choice.name) {
        ("auto", _) => Ok(ToolChoice::Auto),
        ("any", _) => Ok(ToolChoice::Required),
        ("none", _) => Ok(ToolChoice::None),
        ("tool", Some(name)) => Ok(ToolChoice::Function(name.0)),
        ("tool", None) => Err(ClientError::invalid("tool_choice.name", "is required")),
        _ => Err(ClientError::invalid("tool_choice.type", "must be auto, any, tool or none")),
    }
}

fn response_format<'a>(
    config: wire::OutputConfig<'a>,
    unknown: &mut Vec<String>,
) -> Result<ResponseFormat<'a>, ClientError> {
    note_rest(unknown, "output_config.", &config.rest);
    match config.format {
        None => Ok(ResponseFormat::Text),
        Some(wire::OutputFormat { kind, schema: Some(schema) }) if kind.0 == "json_schema" => {
            Ok(ResponseFormat::JsonSchema(schema))
        }
        Some(_) => Err(ClientError::invalid("output_config.format", "must be a json_schema with its schema")),
    }
}

#[cfg(test)]
mod tests;
