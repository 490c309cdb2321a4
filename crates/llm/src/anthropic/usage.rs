//! Token counts as Anthropic gives them.

use serde::Deserialize;

use crate::Usage;
use crate::json::{Cursor, JsonError};

/// Token counts of an answer. In a stream each that is present replaces what was known: they are cumulative.
#[derive(Deserialize, Default, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(default)]
pub struct Counts {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize, Default, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl Counts {
    /// Reads `usage`; `null` or anything but an object is `None`.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, JsonError> {
        if cursor.peek() != Some(b'{') {
            return cursor.skip().map(|_| None);
        }
        let mut counts = Self::default();
        cursor.object::<JsonError>(|cursor, key| {
            if key.is("input_tokens") {
                counts.input_tokens = cursor.whole_number()?;
            } else if key.is("cache_creation_input_tokens") {
                counts.cache_creation_input_tokens = cursor.whole_number()?;
            } else if key.is("cache_read_input_tokens") {
                counts.cache_read_input_tokens = cursor.whole_number()?;
            } else if key.is("output_tokens") {
                counts.output_tokens = cursor.whole_number()?;
            } else if key.is("output_tokens_details") && cursor.peek() == Some(b'{') {
                let details = counts.output_tokens_details.get_or_insert_default();
                cursor.object::<JsonError>(|cursor, key| {
                    if key.is("thinking_tokens") {
                        details.thinking_tokens = cursor.whole_number()?;
                    } else {
                        cursor.skip()?;
                    }
                    Ok(())
                })?;
            } else {
                cursor.skip()?;
            }
            Ok(())
        })?;
        Ok(Some(counts))
    }

    /// Takes over what `newer` says.
    pub fn update(&mut self, newer: Self) {
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens = newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
        self.output_tokens_details = newer.output_tokens_details.or(self.output_tokens_details);
    }

    /// In canonical form: the API's `input_tokens` leaves cached ones out; ours include them.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        let read = self.cache_read_input_tokens.unwrap_or(0);
        Usage {
            prompt_tokens: self.input_tokens.unwrap_or(0).saturating_add(written).saturating_add(read),
            completion_tokens: self.output_tokens.unwrap_or(0),
            cached_tokens: read,
            cache_write_tokens: written,
            reasoning_tokens: self.output_tokens_details.and_then(|d| d.thinking_tokens).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scan_reads_what_serde_reads() {
        for text in [
            "{}",
            r#"{"input_tokens":3,"output_tokens":1,"x":[1]}"#,
            r#"{"input_tokens":null,"cache_creation_input_tokens":4,"cache_read_input_tokens":5,"output_tokens":6,"output_tokens_details":{"thinking_tokens":2,"y":{}}}"#,
            r#"{"output_tokens_details":null}"#,
        ] {
            let scanned = Counts::read(&mut Cursor::new(text.as_bytes()).unwrap()).unwrap().unwrap();
            assert_eq!(scanned, serde_json::from_str::<Counts>(text).unwrap(), "{text}");
        }
        assert_eq!(Counts::read(&mut Cursor::new(b"null").unwrap()), Ok(None));
    }
}
