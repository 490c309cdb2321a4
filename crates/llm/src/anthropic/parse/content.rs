//! From turns of blocks to canonical messages.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::anthropic::wire::{Block, Source, Turn};
use crate::wire::{OneOrMany, note, note_rest};
use crate::{AssistantPart, ClientError, Message, Part, ToolCall};

/// The texts of a content in which nothing else may stand: `system`.
pub(super) fn texts<'a>(
    content: OneOrMany<'a, Block<'a>>,
    path: &str,
    unknown: &mut Vec<String>,
) -> Result<Vec<Cow<'a, str>>, ClientError> {
    let blocks = match content {
        OneOrMany::One(text) => return Ok(vec![text]),
        OneOrMany::Many(blocks) => blocks,
    };
    let text = |(at, block): (usize, Block<'a>)| {
        note_rest(unknown, &format!("{path}."), &block.rest);
        match block {
            Block { kind, text: Some(text), .. } if kind.0 == "text" => Ok(text.0),
            _ => Err(not_here(&format!("{path}.{at}"))),
        }
    };
    blocks.into_iter().enumerate().map(text).collect()
}

/// Appends what one turn says.
pub(super) fn turn<'a>(
    turn: Turn<'a>,
    at: usize,
    messages: &mut Vec<Message<'a>>,
    unknown: &mut Vec<String>,
) -> Result<(), ClientError> {
    let path = format!("messages.{at}.content");
    match &*turn.role.0 {
        "user" => user(turn.content, &path, messages, unknown),
        "assistant" => {
            messages.push(assistant(turn.content, &path, unknown)?);
            Ok(())
        }
        // Instructions in mid-conversation.
        "system" => {
            messages.push(Message::System(texts(turn.content, &path, unknown)?));
            Ok(())
        }
        _ => Err(ClientError::invalid(format!("messages.{at}.role"), "must be user, assistant or system")),
    }
}

/// Results of tools become messages of their own, before what else the turn says: they must follow their calls. A picture
/// that a tool has returned goes with what the user says, because results are text only elsewhere.
fn user<'a>(
    content: OneOrMany<'a, Block<'a>>,
    path: &str,
    messages: &mut Vec<Message<'a>>,
    unknown: &mut Vec<String>,
) -> Result<(), ClientError> {
    let blocks = match content {
        OneOrMany::One(text) => {
            messages.push(Message::User(vec![Part::Text(text)]));
            return Ok(());
        }
        OneOrMany::Many(blocks) => blocks,
    };
    let mut parts = Vec::new();
    let mut only_results = !blocks.is_empty();
    for (at, block) in blocks.into_iter().enumerate() {
        let path = format!("{path}.{at}");
        note_rest(unknown, "messages.", &block.rest);
        if block.kind.0 == "tool_result" {
            let id =
                block.tool_use_id.ok_or_else(|| ClientError::invalid(format!("{path}.tool_use_id"), "is required"))?;
            let texts = result(block.content, &path, &mut parts, unknown)?;
            messages.push(Message::Tool { call_id: id.0, parts: texts });
        } else {
            only_results = false;
            parts.push(part(block, &path)?);
        }
    }
    if !(only_results && parts.is_empty()) {
        messages.push(Message::User(parts));
    }
    Ok(())
}

/// The texts of a tool's result; pictures go to `pictures`.
fn result<'a>(
    content: Option<OneOrMany<'a, Block<'a>>>,
    path: &str,
    pictures: &mut Vec<Part<'a>>,
    unknown: &mut Vec<String>,
) -> Result<Vec<Cow<'a, str>>, ClientError> {
    let blocks = match content {
        None => return Ok(Vec::new()),
        Some(OneOrMany::One(text)) => return Ok(vec![text]),
        Some(OneOrMany::Many(blocks)) => blocks,
    };
    let mut texts = Vec::new();
    for (at, block) in blocks.into_iter().enumerate() {
        note_rest(unknown, "messages.", &block.rest);
        match part(block, &format!("{path}.content.{at}"))? {
            Part::Text(text) => texts.push(text),
            picture => pictures.push(picture),
        }
    }
    Ok(texts)
}

fn part<'a>(block: Block<'a>, path: &str) -> Result<Part<'a>, ClientError> {
    let converted = match (&*block.kind.0, block.text, block.source) {
        ("text", Some(text), _) => Some(Part::Text(text.0)),
        ("image", _, Some(source)) => picture(source),
        ("document", _, Some(source)) => document(source, block.title.map(|title| title.0)),
        _ => None,
    };
    converted.ok_or_else(|| not_here(path))
}

fn picture(source: Source<'_>) -> Option<Part<'_>> {
    let url = match &*source.kind.0 {
        "base64" => data_url(&source)?,
        "url" => source.url?.0,
        // Files live with their provider.
        _ => return None,
    };
    Some(Part::Image { url })
}

fn document<'a>(source: Source<'a>, name: Option<Cow<'a, str>>) -> Option<Part<'a>> {
    match &*source.kind.0 {
        "base64" => Some(Part::File { data: data_url(&source)?, name }),
        "text" => Some(Part::Text(source.data?.0)),
        _ => None,
    }
}

fn data_url<'a>(source: &Source<'_>) -> Option<Cow<'a, str>> {
    let (media_type, data) = (source.media_type.as_ref()?, source.data.as_ref()?);
    Some(format!("data:{};base64,{}", media_type.0, data.0).into())
}

/// Thinking is left out: its signature holds with its provider only.
fn assistant<'a>(
    content: OneOrMany<'a, Block<'a>>,
    path: &str,
    unknown: &mut Vec<String>,
) -> Result<Message<'a>, ClientError> {
    let (mut parts, mut tool_calls) = (Vec::new(), Vec::new());
    match content {
        OneOrMany::One(text) => parts.push(AssistantPart::Text(text)),
        OneOrMany::Many(blocks) => {
            for (at, block) in blocks.into_iter().enumerate() {
                let path = format!("{path}.{at}");
                note_rest(unknown, "messages.", &block.rest);
                match (&*block.kind.0, block.text) {
                    ("text", Some(text)) => parts.push(AssistantPart::Text(text.0)),
                    ("thinking" | "redacted_thinking", _) => note(unknown, "messages.thinking".to_owned()),
                    ("tool_use", _) => {
                        let (Some(id), Some(name)) = (block.id, block.name) else {
                            return Err(ClientError::invalid(path, "must have an id and a name"));
                        };
                        let arguments = input(block.input, &path)?;
                        tool_calls.push(ToolCall { id: id.0, name: name.0, arguments });
                    }
                    _ => return Err(not_here(&path)),
                }
            }
        }
    }
    Ok(Message::Assistant { parts, tool_calls })
}

fn input(input: Option<&RawValue>, path: &str) -> Result<Box<RawValue>, ClientError> {
    let wrong = || ClientError::invalid(format!("{path}.input"), "must be an object");
    input.filter(|input| input.get().starts_with('{')).map(ToOwned::to_owned).ok_or_else(wrong)
}

fn not_here(path: &str) -> ClientError {
    ClientError::unsupported(path, "this kind of content is not supported by this model")
}
