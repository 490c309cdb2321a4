//! Providers.

use std::time::Duration;

use meridian_types::model::Overrides;
use meridian_types::provider::{
    CredentialRef, DEFAULT_MAX_IN_FLIGHT, DEFAULT_PROBE_INTERVAL, Deadlines, Probe, ProbeKind, TokenLimit,
};
use meridian_types::{ErrorCode, Provider};

use super::reader::{Reader, Reading};
use super::{STAND_IN, STAND_IN_JURISDICTION};
use crate::resources::v1 as wire;
use crate::resources::v1::credential_ref::Source;
use crate::resources::v1::probe::Kind;

/// Reads a provider.
pub(super) fn read(message: &wire::Provider) -> Reading<Provider> {
    let mut reader = Reader::new(meridian_types::Kind::Provider, &message.name);
    let name = reader.text_or("name", &message.name, STAND_IN);
    let jurisdiction = reader.text_or("jurisdiction", &message.jurisdiction, STAND_IN_JURISDICTION);
    let codec = reader.text("codec", &message.codec).unwrap_or_default();
    let base_url = base_url(&mut reader, &message.base_url).unwrap_or_default();
    let credential = message.credential.as_ref().and_then(|reference| credential(&mut reader, reference));
    let max_in_flight = message.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT);
    let max_in_flight = reader.in_range("max_in_flight", max_in_flight, 1..=100_000);
    let deadlines = deadlines(&mut reader, message.deadlines.as_ref()).over(Deadlines::default());
    let probe = message.probe.as_ref().map(|probe| read_probe(&mut reader, probe));
    let provider = name.zip(jurisdiction).map(|(name, jurisdiction)| Provider {
        name,
        codec,
        base_url,
        credential,
        jurisdiction,
        max_in_flight,
        deadlines,
        probe,
        token_limit: token_limit(message.token_limit()),
    });
    reader.finish(provider)
}

fn read_probe(reader: &mut Reader, message: &wire::Probe) -> Probe {
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
    let interval = reader.duration("probe.interval", message.interval.as_ref(), DEFAULT_PROBE_INTERVAL, allowed);
    if message.kind() != Kind::Completion && !message.model.is_empty() {
        reader.mistake("probe.model", ErrorCode::InvalidField, "only probes of kind COMPLETION ask a model");
    }
    let kind = match message.kind() {
        Kind::Unspecified | Kind::Models => ProbeKind::Models,
        Kind::Connect => ProbeKind::Connect,
        // Where there is no name the mistake is noted, and nothing of the value is used.
        Kind::Completion => reader.text("probe.model", &message.model).map_or(ProbeKind::Models, ProbeKind::Completion),
    };
    Probe { interval, kind }
}

fn token_limit(name: wire::TokenLimit) -> Option<TokenLimit> {
    match name {
        wire::TokenLimit::Unspecified => None,
        wire::TokenLimit::MaxCompletionTokens => Some(TokenLimit::MaxCompletionTokens),
        wire::TokenLimit::MaxTokens => Some(TokenLimit::MaxTokens),
    }
}

fn base_url(reader: &mut Reader, text: &str) -> Option<String> {
    const ALLOWED: &str = "an absolute http:// or https:// URL without user, query and fragment";
    if text.is_empty() {
        reader.mistake("base_url", ErrorCode::MissingField, format!("this field is required: {ALLOWED}"));
        return None;
    }
    // A password in a URL would be a literal secret.
    let uri = text.parse::<tonic::codegen::http::Uri>().ok();
    let authority = uri.as_ref().and_then(|uri| uri.authority());
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        reader.mistake("base_url", ErrorCode::LiteralSecret, "a URL must not carry a user or a password");
        return None;
    }
    let is_valid = uri.as_ref().is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none() && !text.contains('#')
    });
    if !is_valid || authority.is_none() {
        reader.mistake("base_url", ErrorCode::InvalidField, format!("not allowed; write {ALLOWED}"));
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

fn credential(reader: &mut Reader, message: &wire::CredentialRef) -> Option<CredentialRef> {
    match &message.source {
        Some(Source::Env(name)) if is_env_name(name) => Some(CredentialRef::Env(name.clone())),
        Some(Source::Env(_)) => {
            let text = "must be the name of an environment variable: A-Z, 0-9 and '_'; not the secret itself";
            reader.mistake("credential.env", ErrorCode::InvalidField, text);
            None
        }
        Some(Source::File(path)) if path.starts_with('/') => Some(CredentialRef::File(path.clone())),
        Some(Source::File(_)) => {
            reader.mistake("credential.file", ErrorCode::InvalidField, "must be an absolute path on the node");
            None
        }
        None => {
            let text = "write a reference: {env: NAME} or {file: /path}";
            reader.mistake("credential", ErrorCode::MissingField, text);
            None
        }
    }
}

fn is_env_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// What is written of deadlines, at a provider or at a model.
pub(super) fn deadlines(reader: &mut Reader, message: Option<&wire::Deadlines>) -> Overrides {
    // Below 10 ms no request of this kind succeeds; above an hour no client waits.
    let allowed = Duration::from_millis(10)..=Duration::from_secs(3600);
    let Some(message) = message else { return Overrides::default() };
    let mut read = |field: &str, value: &Option<pbjson_types::Duration>| {
        let default = *allowed.start();
        value
            .as_ref()
            .map(|value| reader.duration(&format!("deadlines.{field}"), Some(value), default, allowed.clone()))
    };
    Overrides {
        connect: read("connect", &message.connect),
        response_headers: read("response_headers", &message.response_headers),
        first_token: read("first_token", &message.first_token),
        idle: read("idle", &message.idle),
        total: read("total", &message.total),
        min_bytes_per_s: message
            .min_bytes_per_s
            .map(|rate| reader.in_range("deadlines.min_bytes_per_s", rate, 0..=1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_reported_with_its_path() {
        let message = wire::Provider {
            name: "Bad Name".into(),
            base_url: "https://user:pass@host/v1".into(),
            credential: Some(wire::CredentialRef { source: Some(Source::Env("sk-abc".into())) }),
            max_in_flight: Some(0),
            probe: Some(wire::Probe {
                interval: Some(pbjson_types::Duration { seconds: 0, nanos: 5 }),
                kind: Kind::Completion.into(),
                ..Default::default()
            }),
            deadlines: Some(wire::Deadlines {
                idle: Some(pbjson_types::Duration { seconds: -1, nanos: 0 }),
                min_bytes_per_s: Some(2_000_000),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mistakes = read(&message).mistakes;
        let found: Vec<_> = mistakes.iter().map(|m| (m.path.as_str(), m.code)).collect();
        let expected = [
            ("name", ErrorCode::InvalidField),
            ("jurisdiction", ErrorCode::MissingField),
            ("codec", ErrorCode::MissingField),
            ("base_url", ErrorCode::LiteralSecret),
            ("credential.env", ErrorCode::InvalidField),
            ("max_in_flight", ErrorCode::InvalidField),
            ("deadlines.idle", ErrorCode::InvalidField),
            ("deadlines.min_bytes_per_s", ErrorCode::InvalidField),
            ("probe.interval", ErrorCode::InvalidField),
            ("probe.model", ErrorCode::MissingField),
        ];
        assert_eq!(found, expected);
        assert!(mistakes.iter().all(|m| !m.text.contains("sk-abc")), "{mistakes:?}");
    }

    #[test]
    fn a_model_is_named_where_a_probe_asks_one_and_nowhere_else() {
        let probe = |kind: Kind, model: &str| {
            let mut reader = Reader::new(meridian_types::Kind::Provider, "p");
            let message = wire::Probe { kind: kind.into(), model: model.to_owned(), ..Default::default() };
            let read = read_probe(&mut reader, &message);
            reader.finish(Some(read)).checked().map_err(|mistakes| (mistakes[0].path.clone(), mistakes[0].code))
        };
        let read = |kind| Ok(Probe { interval: DEFAULT_PROBE_INTERVAL, kind });
        let wrong = |code| Err(("probe.model".to_owned(), code));
        let completion = ProbeKind::Completion("small".parse().unwrap());
        assert_eq!(probe(Kind::Unspecified, ""), read(ProbeKind::Models));
        assert_eq!(probe(Kind::Models, ""), read(ProbeKind::Models));
        assert_eq!(probe(Kind::Connect, ""), read(ProbeKind::Connect));
        assert_eq!(probe(Kind::Completion, "small"), read(completion));
        assert_eq!(probe(Kind::Completion, ""), wrong(ErrorCode::MissingField));
        assert_eq!(probe(Kind::Completion, "two words"), wrong(ErrorCode::InvalidField));
        assert_eq!(probe(Kind::Connect, "small"), wrong(ErrorCode::InvalidField));
    }
}
