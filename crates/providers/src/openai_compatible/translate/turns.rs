//! From canonical messages to chat messages.

use std::borrow::Cow;

use meridian_llm::{AssistantPart, ClientError, Message, Part, ToolCall};

use super::wire;

/// What stands between blocks of instructions that become one text.
const PARAGRAPH: &str = "\n\n";

/// A document without a title has to be called something.
const UNTITLED: &str = "document.pdf";

pub(super) fn translate(messages: Vec<Message<'_>>) -> Result<Vec<wire::Message<'_>>, ClientError> {
    if let Some(Message::Assistant { .. }) = messages.last() {
        // A chat completion would begin anew instead of going on.
        return Err(ClientError::unsupported("messages", "this model cannot continue an assistant message"));
    }
    Ok(messages.into_iter().map(message).collect())
}

fn message(message: Message<'_>) -> wire::Message<'_> {
    match message {
        Message::System(texts) => wire::Message::System { content: texts.join(PARAGRAPH) },
        Message::User(parts) => wire::Message::User { content: content(parts) },
        Message::Assistant { parts, tool_calls } => {
            let text: String =
                parts.iter().map(|(AssistantPart::Text(text) | AssistantPart::Refusal(text))| &**text).collect();
            let content = (!text.is_empty() || tool_calls.is_empty()).then_some(text);
            wire::Message::Assistant { content, tool_calls: tool_calls.into_iter().map(call).collect() }
        }
        Message::Tool { call_id, parts } => wire::Message::Tool { tool_call_id: call_id, content: parts.join("\n") },
    }
}

fn content(mut parts: Vec<Part<'_>>) -> wire::Content<'_> {
    match parts.pop() {
        None => wire::Content::Text(Cow::Borrowed("")),
        Some(Part::Text(text)) if parts.is_empty() => wire::Content::Text(text),
        Some(last) => {
            parts.push(last);
            wire::Content::Parts(parts.into_iter().map(part).collect())
        }
    }
}

fn part(part: Part<'_>) -> wire::Part<'_> {
    match part {
        Part::Text(text) => wire::Part::Text { text },
        Part::Image { url } => wire::Part::ImageUrl { image_url: wire::ImageUrl { url } },
        Part::File { data, name } => {
            wire::Part::File { file: wire::File { filename: name.unwrap_or(Cow::Borrowed(UNTITLED)), file_data: data } }
        }
    }
}

fn call(call: ToolCall<'_>) -> wire::Call<'_> {
    let function = wire::Function { name: call.name, arguments: call.arguments.get().to_owned() };
    wire::Call { id: call.id, kind: "function", function }
}
