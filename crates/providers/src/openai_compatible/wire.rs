//! The error bodies of OpenAI and of what imitates it. `code` is a string, null or (in some imitations) a number.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An error document in one of the three shapes that are met:
/// `{"error":{...}}` (OpenAI), `{"error":"text"}` (TGI, Ollama; xAI with a `code` beside it),
/// `{"object":"error","message":...}` (vLLM before 0.10).
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
    /// OpenRouter's, see [`Metadata`].
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct InnerError<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
}

/// What OpenRouter adds to its errors. Each field is there for one kind of error.
#[derive(Deserialize, Default)]
struct Metadata<'a> {
    /// The stable name of what happened.
    #[serde(borrow, default)]
    error_type: Option<&'a RawValue>,
    /// Why the input was flagged, as a list.
    #[serde(borrow, default)]
    reasons: Option<&'a RawValue>,
    /// The piece of the input that was flagged.
    #[serde(borrow, default)]
    flagged_input: Option<&'a RawValue>,
    /// What a guardrail found in the input, as a list.
    #[serde(borrow, default)]
    patterns: Option<&'a RawValue>,
}

impl<'a> ErrorBody<'a> {
    /// Reads an error document, and whether it has OpenAI's own shape, so that it may go back as it came.
    pub(super) fn read(body: &'a [u8]) -> Option<(ErrorInner<'a>, bool)> {
        let document = serde_json::from_slice::<Self>(body).ok()?;
        let Some(error) = document.error else {
            let Self { message: Some(message), kind, code, .. } = document else { return None };
            return Some((ErrorInner { message: Some(message), kind, code, ..ErrorInner::default() }, false));
        };
        match serde_json::from_str::<ErrorInner<'a>>(error.get()) {
            Ok(inner) => Some((inner, true)),
            Err(_) => {
                let (kind, code) = (document.kind, document.code);
                Some((ErrorInner { message: Some(error), kind, code, ..ErrorInner::default() }, false))
            }
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

    /// OpenRouter's `metadata.error_type`.
    pub(super) fn error_type(&self) -> Option<Cow<'_, str>> {
        text(self.metadata().error_type)
    }

    /// Whether OpenRouter's moderation, or a guardrail there, found something in the request.
    pub(super) fn flags_the_request(&self) -> bool {
        let Metadata { reasons, flagged_input, patterns, .. } = self.metadata();
        let says_something = |raw: &RawValue| !matches!(raw.get(), "[]" | "\"\"");
        [reasons, flagged_input, patterns].into_iter().flatten().any(says_something)
    }

    fn metadata(&self) -> Metadata<'_> {
        self.metadata.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// `code`, if it is a number: an HTTP status in the imitations that send one.
    pub(super) fn numeric_code(&self) -> Option<u16> {
        self.code?.get().parse().ok()
    }
}

fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    serde_json::from_str::<String>(raw?.get()).ok().map(Cow::Owned)
}
