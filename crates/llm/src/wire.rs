//! Pieces of requests that both dialects have on the wire, and how they are read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::{ClientError, ErrorCode, failure};

/// A string borrowed from the body unless it has escapes (a bare `Option<Cow<str>>` always copies).
#[derive(Deserialize, Debug, Clone)]
#[serde(transparent)]
pub(crate) struct Str<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Members that are not read, by name.
pub(crate) type Rest = BTreeMap<String, IgnoredAny>;

/// Reads a whole body.
///
/// # Errors
/// A 400 that names the field at fault: serde's own text quotes values of the request, so only the place is told.
pub(crate) fn read_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ClientError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut track = serde_path_to_error::Track::new();
    T::deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track)).map_err(|_| {
        let path = track.path().to_string();
        match path.as_str() {
            "." => ClientError::new(ErrorCode::InvalidRequest, "a required field is missing or has the wrong type"),
            _ => ClientError::invalid(path, "is missing a required field or has the wrong type"),
        }
    })
}

/// Most names that are noted: they end up in a response header.
const MAX_UNKNOWN: usize = 32;

/// Notes the name of a parameter that translation leaves out, once.
pub(crate) fn note(unknown: &mut Vec<String>, name: String) {
    if unknown.len() < MAX_UNKNOWN && !unknown.contains(&name) {
        unknown.push(name);
    }
}

/// Notes the names of members that are not read, if they are plain identifiers.
pub(crate) fn note_rest(unknown: &mut Vec<String>, prefix: &str, rest: &Rest) {
    for name in rest.keys().filter_map(|name| failure::identifier(name)) {
        note(unknown, format!("{prefix}{name}"));
    }
}

/// A plain string, or a list. Written by hand: serde's untagged enums buffer, which copies and loses raw values.
pub(crate) enum OneOrMany<'a, T> {
    One(Cow<'a, str>),
    Many(Vec<T>),
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<'a, T>(PhantomData<(&'a str, T)>);
        impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for Either<'a, T> {
            type Value = OneOrMany<'a, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(OneOrMany::Many(all))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}
