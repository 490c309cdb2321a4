//! OpenAI's error body. `code` is a string, null or (in some imitations) a number.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(super) struct ErrorBody<'a> {
    #[serde(borrow)]
    pub(super) error: ErrorInner<'a>,
}

#[derive(Deserialize, Default)]
pub(super) struct ErrorInner<'a> {
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

impl ErrorInner<'_> {
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
