//! The list of models, as clients of each dialect expect it.
//!
//! Sources: OpenAI API reference, "Models"; Anthropic API reference, "List Models". Every list is whole: there is no next page.

use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use meridian_llm::Dialect;
use meridian_types::ErrorCode;
use serde::Serialize;

use crate::reply::json;
use crate::{ModelCard, Refused, Reply};

/// `GET /v1/models`.
pub(crate) fn list(dialect: Dialect, cards: &[ModelCard]) -> Result<Reply, Refused> {
    match dialect {
        Dialect::OpenAi => body_of(&OpenAiList { object: "list", data: cards.iter().map(OpenAi::from).collect() }),
        Dialect::Anthropic => body_of(&AnthropicList {
            data: cards.iter().map(Anthropic::from).collect(),
            has_more: false,
            first_id: cards.first().map(|card| &*card.id),
            last_id: cards.last().map(|card| &*card.id),
        }),
    }
}

/// `GET /v1/models/{id}`.
pub(crate) fn one(dialect: Dialect, cards: &[ModelCard], id: &str) -> Result<Reply, Refused> {
    let card = cards.iter().find(|card| card.id == id).ok_or_else(|| {
        Refused::new(ErrorCode::ModelNotFound, "the model does not exist or you do not have access to it")
    })?;
    match dialect {
        Dialect::OpenAi => body_of(&OpenAi::from(card)),
        Dialect::Anthropic => body_of(&Anthropic::from(card)),
    }
}

#[derive(Serialize)]
struct OpenAiList<'a> {
    object: &'static str,
    data: Vec<OpenAi<'a>>,
}

#[derive(Serialize)]
struct OpenAi<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

impl<'a> From<&'a ModelCard> for OpenAi<'a> {
    fn from(card: &'a ModelCard) -> Self {
        Self { id: &card.id, object: "model", created: card.created, owned_by: "meridian" }
    }
}

#[derive(Serialize)]
struct AnthropicList<'a> {
    data: Vec<Anthropic<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Anthropic<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    display_name: &'a str,
    /// RFC 3339.
    created_at: String,
}

impl<'a> From<&'a ModelCard> for Anthropic<'a> {
    fn from(card: &'a ModelCard) -> Self {
        let created = UNIX_EPOCH + Duration::from_secs(u64::try_from(card.created).unwrap_or_default());
        let created_at = humantime::format_rfc3339_seconds(created).to_string();
        Self { kind: "model", id: &card.id, display_name: &card.id, created_at }
    }
}

fn body_of<T: Serialize>(value: &T) -> Result<Reply, Refused> {
    match serde_json::to_vec(value) {
        Ok(body) => Ok(json(StatusCode::OK, body.into())),
        Err(_) => Err(Refused::new(ErrorCode::Internal, "the answer cannot be written")),
    }
}
