//! A JSON reader that builds nothing: it checks, skips, and says where values lie.
//!
//! The pass-through path must know that an event is one well-formed value, find two or three fields in it, and replace
//! some of them in place. serde_json can do the first without allocation, but gives no positions, decodes strings it
//! need not (and refuses lone surrogates, which are none of a gateway's business), and allocates for nesting.
//! Grammar: RFC 8259. Where a value is really wanted (tool schemas, whole requests for translation), serde_json reads it.

mod cursor;
mod text;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

pub use cursor::{Cursor, JsonError, MAX_DEPTH, Span};
pub use text::Text;

/// Serializes a value that cannot fail: structs of strings, numbers, lists and raw values.
///
/// serde_json fails only for a map with non-string keys or a `Serialize` that fails itself; neither is used here. If
/// one ever were, the answer is an empty body and a failing test, not a crash in the request path.
#[must_use]
pub fn to_bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}

/// Replaces parts of a text and leaves every other byte as it is. The spans must lie apart.
#[must_use]
pub fn splice(text: &Bytes, mut edits: Vec<(Span, String)>) -> Bytes {
    if edits.is_empty() {
        return text.clone();
    }
    edits.sort_by_key(|(span, _)| span.start);
    let added: usize = edits.iter().map(|(_, new)| new.len()).sum();
    let mut out = BytesMut::with_capacity(text.len() + added);
    let mut from = 0;
    for (span, new) in edits {
        out.extend_from_slice(text.get(from..span.start).unwrap_or_default());
        out.extend_from_slice(new.as_bytes());
        from = span.end;
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out.freeze()
}
