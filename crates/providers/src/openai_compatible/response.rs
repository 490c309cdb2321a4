//! A whole answer, forwarded as it came once it is known to be one.

use bytes::Bytes;
use meridian_llm::Failure;
use meridian_llm::openai::{AnswerFacts, inspect_answer};

use super::error;
use crate::ClientAnswer;

pub(super) fn pass_on(body: &Bytes) -> Result<ClientAnswer, Failure> {
    let facts = judge(body)?;
    Ok(ClientAnswer { body: body.clone(), usage: facts.usage })
}

/// What a body holds, once it is known to be an answer.
pub(super) fn judge(body: &[u8]) -> Result<AnswerFacts, Failure> {
    let facts = inspect_answer(body).map_err(|_| Failure::malformed("the answer is not a JSON object"))?;
    if facts.error {
        return Err(error::in_band(body));
    }
    if !facts.has_choices {
        return Err(Failure::malformed("the answer has no choices"));
    }
    Ok(facts)
}
