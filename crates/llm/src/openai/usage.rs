//! Reads the `usage` object of a chunk or answer.

use crate::Usage;
use crate::json::{Cursor, JsonError};

/// Reads `usage`; `null` or anything but an object is `None`.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Usage>, JsonError> {
    if cursor.peek() != Some(b'{') {
        return cursor.skip().map(|_| None);
    }
    let mut usage = Usage::default();
    cursor.object::<JsonError>(|cursor, key| {
        if key.is("prompt_tokens") {
            usage.prompt_tokens = count(cursor)?;
        } else if key.is("completion_tokens") {
            usage.completion_tokens = count(cursor)?;
        } else if key.is("prompt_tokens_details") {
            details(
                cursor,
                "cached_tokens",
                &mut usage.cached_tokens,
                "cache_write_tokens",
                &mut usage.cache_write_tokens,
            )?;
        } else if key.is("completion_tokens_details") {
            details(cursor, "reasoning_tokens", &mut usage.reasoning_tokens, "", &mut 0)?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    Ok(Some(usage))
}

fn count(cursor: &mut Cursor<'_>) -> Result<u64, JsonError> {
    Ok(cursor.whole_number()?.unwrap_or(0))
}

fn details(cursor: &mut Cursor<'_>, a: &str, into_a: &mut u64, b: &str, into_b: &mut u64) -> Result<(), JsonError> {
    if cursor.peek() != Some(b'{') {
        return cursor.skip().map(|_| ());
    }
    cursor.object(|cursor, key| {
        if key.is(a) {
            *into_a = count(cursor)?;
        } else if key.is(b) {
            *into_b = count(cursor)?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })
}
