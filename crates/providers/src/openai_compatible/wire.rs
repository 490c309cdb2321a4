//! The error bodies of OpenAI and of what imitates it. `code` is a string, null or (in some imitations) a number.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An error document in one of the three shapes that are met:
/// `{"error":{...}}` (OpenAI), `{"error":"text"}` (TGI, Ollama), `{"object":"error","message":...}` (vLLM before 0.10).
#[derive(Deserialize)]
pub(super) struct ErrorBody<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
pub(super) struct ErrorInner<'a> {
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    /// Azure puts its content filter's verdict here.
    #[serde(borrow, default)]
    innererror: Option<InnerError<'a>>,
}

#[derive(Deserialize)]
struct InnerError<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
}

impl<'a> ErrorBody<'a> {
    /// Reads an error document, and whether it has OpenAI's own shape, so that it may go back as it came.
    pub(super) fn read(body: &'a [u8]) -> Option<(ErrorInner<'a>, bool)> {
        let document = serde_json::from_slice::<Self>(body).ok()?;
        let Some(error) = document.error else {
            let Self { message: Some(message), kind, code, .. } = document else { return None };
            return Some((ErrorInner { message: Some(message), kind, code, innererror: None }, false));
        };
        match serde_json::from_str::<ErrorInner<'a>>(error.get()) {
            Ok(inner) => Some((inner, true)),
            Err(_) => Some((ErrorInner { message: Some(error), ..ErrorInner::default() }, false)),
        }
    }
}

impl ErrorInner<'_> {
    /// `message`, if it is a string. For the client only: it may quote the request.
    pub(super) fn message(&self) -> Option<Cow<'_, str>> {
        text(self.message)
    }

    /// `code`, if it is a string.
    pub(super) fn code(&self) -> Option<Cow<'_, str>> {
        text(self.code)
    }

    /// `type`, if it is a string.
    pub(super) fn kind(&self) -> Option<Cow<'_, str>> {
        text(self.kind)
    }

    /// Azure's `innererror.code`.
    pub(super) fn inner_code(&self) -> Option<Cow<'_, str>> {
        text(self.innererror.as_ref()?.code)
    }

    /// `code`, if it is a number: an HTTP status in the imitations that send one.
    pub(super) fn numeric_code(&self) -> Option<u16> {
        self.code?.get().parse().ok()
    }
}

fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    serde_json::from_str::<String>(raw?.get()).ok().map(Cow::Owned)
}
