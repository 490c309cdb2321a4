//! From a list of messages to system blocks and alternating turns.
//!
//! The API wants instructions apart, results of tools in the user turn right after the calls and before other content,
//! and no empty text blocks.

use std::borrow::Cow;

use meridian_llm::{AssistantPart, ClientError, Message, Part, anthropic};

use super::wire::{Block, Source, Turn};

type Turns<'a> = (Vec<Block<'a>>, Vec<Turn<'a>>);

pub(super) fn translate(messages: Vec<Message<'_>>) -> Result<Turns<'_>, ClientError> {
    let mut system = Vec::new();
    let mut turns = Vec::new();
    for (at, message) in messages.into_iter().enumerate() {
        match message {
            Message::System(texts) => system.extend(texts.into_iter().filter_map(text_block)),
            Message::User(parts) => {
                let blocks = parts.into_iter().enumerate().map(|(i, part)| user_block(part, at, i));
                let blocks: Vec<_> = blocks.filter_map(Result::transpose).collect::<Result<_, _>>()?;
                if blocks.is_empty() {
                    return Err(ClientError::invalid(format!("messages[{at}].content"), "must not be empty"));
                }
                extend(&mut turns, "user", blocks);
            }
            Message::Assistant { parts, tool_calls } => {
                let mut blocks: Vec<_> = parts
                    .into_iter()
                    .filter_map(|part| match part {
                        AssistantPart::Text(text) | AssistantPart::Refusal(text) => text_block(text),
                    })
                    .collect();
                blocks.extend(tool_calls.into_iter().map(|call| Block::ToolUse {
                    id: tool_id(call.id),
                    name: call.name,
                    input: call.arguments,
                }));
                extend(&mut turns, "assistant", blocks);
            }
            Message::Tool { call_id, parts } => {
                let content = parts.into_iter().filter_map(text_block).collect();
                extend(&mut turns, "user", vec![Block::ToolResult { tool_use_id: tool_id(call_id), content }]);
            }
        }
    }
    if turns.is_empty() {
        return Err(ClientError::invalid("messages", "must hold at least one user message"));
    }
    Ok((system, turns))
}

/// Adds blocks to the last turn if the role is the same, so that turns alternate.
fn extend<'a>(turns: &mut Vec<Turn<'a>>, role: &'static str, blocks: Vec<Block<'a>>) {
    if blocks.is_empty() {
        return;
    }
    match turns.last_mut() {
        Some(last) if last.role == role => last.content.extend(blocks),
        _ => turns.push(Turn { role, content: blocks }),
    }
}

fn text_block(text: Cow<'_, str>) -> Option<Block<'_>> {
    (!text.is_empty()).then_some(Block::Text { text })
}

fn user_block(part: Part<'_>, message: usize, at: usize) -> Result<Option<Block<'_>>, ClientError> {
    let wrong = |what: &'static str| ClientError::invalid(format!("messages[{message}].content[{at}]"), what);
    match part {
        Part::Text(text) => Ok(text_block(text)),
        Part::Image { url } => {
            let source = source(url).ok_or_else(|| wrong("must be a base64 data: URL or an http(s) URL"))?;
            Ok(Some(Block::Image { source }))
        }
        Part::File { data, name } => match source(data) {
            Some(source @ Source::Base64 { .. }) => Ok(Some(Block::Document { source, title: name })),
            _ => Err(wrong("file_data must be a base64 data: URL")),
        },
    }
}

/// A `data:` URL (RFC 2397, base64 only) or an `http(s):` one. Megabytes of image stay a slice of the request.
fn source(url: Cow<'_, str>) -> Option<Source<'_>> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase())?;
    match scheme.as_str() {
        "http" | "https" => Some(Source::Url { url }),
        "data" => {
            let (head, data) = match &url {
                Cow::Borrowed(url) => split_data(url).map(|(h, d)| (Cow::Borrowed(h), Cow::Borrowed(d)))?,
                Cow::Owned(url) => split_data(url).map(|(h, d)| (h.to_owned().into(), d.to_owned().into()))?,
            };
            Some(Source::Base64 { media_type: head, data })
        }
        _ => None,
    }
}

/// `data:image/png;charset=x;base64,AAAA` to `("image/png", "AAAA")`.
fn split_data(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.split_once(',')?;
    let parameters = head.get("data:".len()..)?.strip_suffix(";base64")?;
    let media_type = parameters.split(';').next().filter(|media_type| !media_type.is_empty())?;
    Some((media_type, data))
}

/// As the API takes it; one that fits already is not copied.
fn tool_id(id: Cow<'_, str>) -> Cow<'_, str> {
    match anthropic::tool_id(&id) {
        Cow::Borrowed(_) => id,
        Cow::Owned(mapped) => mapped.into(),
    }
}
