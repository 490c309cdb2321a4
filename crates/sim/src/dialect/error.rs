//! Error answers: the catalogue of each provider's bodies, and the refusals of requests that the provider would refuse.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::{Dialect, Identity};
use crate::fault::ErrorKind;
use crate::template::Template;

static OPENAI: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::read(include_str!("../../fixtures/openai/errors.json")));
static ANTHROPIC: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::read(include_str!("../../fixtures/anthropic/errors.json")));

/// A request that the provider would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    /// OpenAI's `param`.
    pub(crate) param: Option<&'static str>,
}

impl Refusal {
    /// An invalid request.
    pub(crate) fn invalid(message: impl Into<String>, param: Option<&'static str>) -> Self {
        Self { kind: ErrorKind::InvalidRequest, message: message.into(), param }
    }
}

/// A provider's error bodies by kind.
pub(crate) struct Catalogue {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    status: StatusCode,
    body: Template,
    message: String,
}

#[derive(Deserialize)]
struct EntryFixture {
    status: u16,
    body: Value,
    message: String,
}

/// The catalogue of a provider.
pub(crate) fn catalogue(dialect: Dialect) -> &'static Catalogue {
    match dialect {
        Dialect::OpenAi => &OPENAI,
        Dialect::Anthropic => &ANTHROPIC,
    }
}

impl Catalogue {
    /// A fixture that cannot be read gives an empty catalogue; a test sees that each kind is there.
    fn read(source: &str) -> Self {
        let fixtures: BTreeMap<String, EntryFixture> = serde_json::from_str(source).unwrap_or_default();
        let entries = fixtures.into_iter().map(|(name, fixture)| {
            let status = StatusCode::from_u16(fixture.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (name, Entry { status, body: Template::json(&fixture.body.to_string()), message: fixture.message })
        });
        Self { entries: entries.collect() }
    }

    /// Usual status, and the body; the message is the refusal's, else the documented one.
    pub(crate) fn body(&self, kind: ErrorKind, refusal: Option<&Refusal>, id: &Identity) -> (StatusCode, Bytes) {
        let Some(entry) = self.entries.get(kind.name()) else {
            return (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new());
        };
        let message = refusal.map_or(entry.message.as_str(), |refusal| refusal.message.as_str());
        let body = entry.body.render(&[
            ("message", message.into()),
            ("param", refusal.and_then(|refusal| refusal.param).into()),
            ("request_id", format!("req_{}", id.digits).into()),
        ]);
        (entry.status, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_providers_have_a_body_for_every_kind_and_no_other() {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            let known: Vec<&str> = catalogue(dialect).entries.keys().map(String::as_str).collect();
            let mut kinds = ErrorKind::ALL.map(ErrorKind::name);
            kinds.sort_unstable();
            assert_eq!(known, kinds, "{dialect:?}");
        }
    }

    #[test]
    fn a_body_carries_the_message_and_no_open_hole() {
        let id = Identity { digits: "0f".into(), created: 0 };
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            for kind in ErrorKind::ALL {
                let (status, body) = catalogue(dialect).body(kind, None, &id);
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert!(status.is_client_error() || status.is_server_error());
                assert!(body["error"]["message"].as_str().is_some_and(|message| message.len() > 5), "{body}");
                assert!(!body.to_string().contains("{{"));
            }
        }
    }
}
