//! A whole answer, forwarded as it came once it is known to be one.

use bytes::Bytes;
use meridian_llm::Failure;
use meridian_llm::openai::inspect_answer;

use super::error;
use crate::ClientAnswer;

pub(super) fn translate(body: &Bytes) -> Result<ClientAnswer, Failure> {
    let facts = inspect_answer(body).map_err(|_| Failure::malformed("the answer is not a JSON object"))?;
    if facts.error {
        return Err(error::in_band(body));
    }
    if !facts.has_choices {
        return Err(Failure::malformed("the answer has no choices"));
    }
    Ok(ClientAnswer { body: body.clone(), usage: facts.usage })
}
