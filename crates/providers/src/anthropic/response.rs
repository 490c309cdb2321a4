//! From a Messages answer to a chat completion.

use std::borrow::Cow;

use bytes::Bytes;
use meridian_llm::openai::response_body;
use meridian_llm::{ChatResponse, Failure};

use super::wire::BlockKind;
use super::{error, wire};
use crate::{CallContext, ClientAnswer};

pub(super) fn translate(context: &CallContext, body: &Bytes) -> Result<ClientAnswer, Failure> {
    let Ok(message) = serde_json::from_slice::<wire::Message<'_>>(body) else {
        return Err(error::in_band(body).unwrap_or(Failure::malformed("the answer is not a message")));
    };
    let stop_reason = message.stop_reason.ok_or(Failure::malformed("the answer has no stop_reason"))?;
    let usage = message.usage.usage();
    let mut response = ChatResponse {
        id: message.id.0,
        model: message.model.0,
        text: None,
        reasoning: None,
        tool_calls: Vec::new(),
        finish: wire::finish_reason(&stop_reason.0),
        usage,
    };
    for block in message.content {
        add(&mut response, block)?;
    }
    if response.text.is_none() && response.tool_calls.is_empty() {
        response.text = Some(String::new());
    }
    Ok(ClientAnswer { body: response_body(&response, context.created), usage: Some(usage) })
}

fn add<'a>(response: &mut ChatResponse<'a>, block: wire::ContentBlock<'a>) -> Result<(), Failure> {
    match (block.kind, block) {
        (BlockKind::Text, wire::ContentBlock { text: Some(text), .. }) => {
            response.text.get_or_insert_default().push_str(&text.0);
        }
        (BlockKind::Thinking, wire::ContentBlock { thinking: Some(thinking), .. }) => {
            response.reasoning.get_or_insert_default().push_str(&thinking.0);
        }
        (BlockKind::ToolUse, wire::ContentBlock { id: Some(id), name: Some(name), input: Some(input), .. }) => {
            response.tool_calls.push((id.0, name.0, Cow::Borrowed(input.get())));
        }
        (BlockKind::Text | BlockKind::Thinking | BlockKind::ToolUse, _) => {
            return Err(Failure::malformed("a content block lacks its fields"));
        }
        (BlockKind::Other, _) => {}
    }
    Ok(())
}
