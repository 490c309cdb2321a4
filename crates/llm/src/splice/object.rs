//! JSON objects of which a few members are changed and all others kept as they were written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// Members as written, by name.
pub(super) type Object<'a> = BTreeMap<String, Cow<'a, RawValue>>;

/// An event is not what its dialect promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<serde_json::Error> for Malformed {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

impl From<crate::json::JsonError> for Malformed {
    fn from(_: crate::json::JsonError) -> Self {
        Self
    }
}

/// Reads an object.
pub(super) fn read(text: &[u8]) -> Result<Object<'_>, Malformed> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(text)?;
    Ok(members.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect())
}

/// The member as an object; one that is missing or `null` is empty.
pub(super) fn inner<'a>(object: &'a Object<'_>, name: &str) -> Result<Object<'a>, Malformed> {
    match object.get(name).filter(|value| value.get() != "null") {
        Some(value) => read(value.get().as_bytes()),
        None => Ok(Object::new()),
    }
}

/// The member as a whole number.
pub(super) fn number(object: &Object<'_>, name: &str) -> Option<u64> {
    object.get(name)?.get().parse().ok()
}

/// The member as a string: `None` if there is none, or `null`.
///
/// # Errors
/// When it is something else, or has half a surrogate pair: no Rust string can hold that.
pub(super) fn string(object: &Object<'_>, name: &str) -> Result<Option<String>, Malformed> {
    object.get(name).map_or(Ok(None), |value| Ok(serde_json::from_str(value.get())?))
}

/// Sets a member.
pub(super) fn set(object: &mut Object<'_>, name: &str, value: &impl Serialize) -> Result<(), Malformed> {
    object.insert(name.to_owned(), Cow::Owned(to_raw_value(value)?));
    Ok(())
}

/// Whether the member says something: see [`crate::json::Cursor::carries`].
pub(super) fn carries(object: &Object<'_>, name: &str) -> bool {
    object.get(name).is_some_and(|value| says(value))
}

/// Whether any member says something, but for those named.
pub(super) fn carries_besides(object: &Object<'_>, names: &[&str]) -> bool {
    object.iter().any(|(name, value)| !names.contains(&name.as_str()) && says(value))
}

fn says(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "false" | "\"\"" | "[]" | "{}")
}
