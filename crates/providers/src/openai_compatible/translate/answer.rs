//! From a chat completion to a message.

use bytes::Bytes;
use meridian_llm::anthropic::response_body;
use meridian_llm::{ChatResponse, Failure};

use super::super::response::judge;
use super::{finish_reason, wire};
use crate::{CallContext, ClientAnswer};

pub(in super::super) fn translate(context: &CallContext, body: &Bytes) -> Result<ClientAnswer, Failure> {
    let facts = judge(body)?;
    let malformed = || Failure::malformed("the answer is not a chat completion");
    let answer: wire::Answer<'_> = serde_json::from_slice(body).map_err(|_| malformed())?;
    let (id, model) = answer.name(&context.upstream_model);
    let choice = answer.choices.into_iter().next().ok_or_else(malformed)?;
    let said = choice.message.ok_or_else(malformed)?;
    let mut tool_calls = Vec::new();
    for call in said.tool_calls.unwrap_or_default() {
        let function = call.function.unwrap_or_default();
        let (Some(id), Some(name)) = (call.id, function.name) else {
            return Err(Failure::malformed("a tool call lacks id or name"));
        };
        tool_calls.push((id.0, name.0, function.arguments.unwrap_or_default().0));
    }
    let reason = choice.finish_reason.unwrap_or_default();
    let response = ChatResponse {
        id,
        model,
        text: said.content.filter(|text| !text.0.is_empty()).or(said.refusal).map(|text| text.0.into_owned()),
        reasoning: said.reasoning_content.or(said.reasoning).map(|text| text.0.into_owned()),
        finish: finish_reason(&reason.0, !tool_calls.is_empty()),
        tool_calls,
        usage: facts.usage.unwrap_or_default(),
    };
    let body = response_body(&response)
        .map_err(|_| Failure::malformed("the arguments of a tool call are not a JSON object"))?;
    Ok(ClientAnswer { body, usage: facts.usage })
}
