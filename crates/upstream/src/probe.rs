//! Asks a provider for a sign of life, in the way that its configuration names.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri, uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use meridian_llm::{Failure, FailureClass};
use meridian_providers::{completion_came, completion_probe};
use meridian_resilience::{Patience, Timeline};
use meridian_types::provider::{Deadlines, ProbeKind};
use tokio::time::timeout;
use tower::ServiceExt;

use crate::{SendError, Upstream};

/// A list of models, or a connection, comes within a second from anywhere; one that takes five is of no use to clients either.
const DEADLINE: Duration = Duration::from_secs(5);

/// A busy model has other prompts to read before its first token.
const COMPLETION_DEADLINE: Duration = Duration::from_secs(10);

/// An answer of one token, or an error, has under 2 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What a probe says of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It does what was asked.
    Alive,
    /// It does not, or not in time.
    Dead,
    /// Neither: what it says is about the question, the account or its load, or it could not be asked from here.
    Unclear,
}

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// What it says of the provider.
    pub sign: Sign,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// Why, for people; from closed texts.
    pub why: &'static str,
}

impl Upstream {
    /// The longest time that [`Upstream::probe`] takes.
    pub fn probe_deadline(&self) -> Duration {
        match self.provider().probe().kind {
            ProbeKind::Models | ProbeKind::Connect => DEADLINE,
            ProbeKind::Completion(_) => COMPLETION_DEADLINE,
        }
    }

    /// Asks for a sign of life.
    pub async fn probe(&self) -> Probed {
        let limit = self.probe_deadline();
        let asking = async {
            match &self.provider().probe().kind {
                ProbeKind::Models => self.list_models(limit).await,
                ProbeKind::Connect => self.connect().await,
                ProbeKind::Completion(model) => self.complete(model.as_str(), limit).await,
            }
        };
        let late = Probed { sign: Sign::Dead, status: None, why: "the upstream did not answer in time" };
        timeout(limit, asking).await.unwrap_or(late)
    }

    /// Sooner than `limit`, if an answer to a client's request has to begin sooner.
    async fn list_models(&self, limit: Duration) -> Probed {
        let limit = limit.min(self.provider().deadlines.response_headers);
        match self.send(self.codec().probe_request(), [], &mut self.timeline(limit)).await {
            Ok(answer) => {
                // Whatever it says in words, it speaks: a 401 is for the credential's breaker, a 404 for none.
                let sign = if answer.status.is_server_error() { Sign::Dead } else { Sign::Alive };
                Probed { sign, status: Some(answer.status.as_u16()), why: "the upstream answered" }
            }
            Err(error) => unsent(&error),
        }
    }

    async fn connect(&self) -> Probed {
        let base = self.base();
        let mut parts = uri::Parts::default();
        parts.scheme = base.scheme.clone();
        parts.authority = base.authority.clone();
        parts.path_and_query = Some(uri::PathAndQuery::from_static("/"));
        let Ok(uri) = Uri::from_parts(parts) else { return unsent(&SendError::Url) };
        let (sign, why) = match self.connector().oneshot(uri).await {
            Ok(_) => (Sign::Alive, "the upstream was connected to"),
            Err(_) => (Sign::Dead, "the upstream could not be connected to"),
        };
        Probed { sign, status: None, why }
    }

    async fn complete(&self, model: &str, limit: Duration) -> Probed {
        let Ok(request) = completion_probe(self.codec(), self.provider().token_limit, model) else {
            let why = "the upstream's codec cannot ask for a completion";
            return Probed { sign: Sign::Unclear, status: None, why };
        };
        let answer = match self.send(request, [], &mut self.timeline(limit)).await {
            Ok(answer) => answer,
            Err(error) => return unsent(&error),
        };
        // One that breaks off, or is too long, is none.
        let body = read(answer.body).await.unwrap_or_default();
        let status = Some(answer.status.as_u16());
        match completion_came(self.codec(), model, answer.status, &answer.headers, &body) {
            Ok(()) => Probed { sign: Sign::Alive, status, why: "the upstream's model answered" },
            Err(failure) => Probed { sign: sign(answer.status, &failure), status, why: failure.message },
        }
    }

    /// Heads of answers to probes come at once, as those of streams.
    fn timeline(&self, limit: Duration) -> Timeline {
        let own = self.provider().deadlines;
        let deadlines = Deadlines { response_headers: limit, total: self.probe_deadline(), ..own };
        Timeline::start(deadlines, Patience::default(), true)
    }
}

async fn read(body: Incoming) -> Option<Bytes> {
    Some(Limited::new(body, MAX_ANSWER_BYTES).collect().await.ok()?.to_bytes())
}

/// A request that got no answer.
fn unsent(error: &SendError) -> Probed {
    let sign = match error {
        SendError::Credential(_) | SendError::Url => Sign::Unclear,
        SendError::Deadline(_) | SendError::Connect(_) | SendError::Broken(_) => Sign::Dead,
    };
    Probed { sign, status: None, why: error.message() }
}

/// What it says that a completion did not come. Whose model is asked by a wrong name, or whose account is at its limit, may
/// serve all others well: were a 4xx death, a slip in a probe would take a healthy provider out. Pressure is not death; a 503
/// that names no time to come back is what balancers say when nobody is behind them.
fn sign(status: StatusCode, failure: &Failure) -> Sign {
    let pressed = failure.class == FailureClass::Saturation
        && (status != StatusCode::SERVICE_UNAVAILABLE || failure.retry_after.is_some());
    let may_be_dead =
        matches!(failure.class, FailureClass::Provider | FailureClass::Transport | FailureClass::Saturation);
    if may_be_dead && !pressed && !status.is_client_error() { Sign::Dead } else { Sign::Unclear }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn a_completion_that_does_not_come_is_death_pressure_or_a_wrong_question() {
        let check = |status: u16, retry_after: Option<&'static str>, body: &'static str, expected| {
            let mut headers = HeaderMap::new();
            headers.extend(retry_after.map(|text| (RETRY_AFTER, http::HeaderValue::from_static(text))));
            for codec in meridian_providers::registry() {
                let status = StatusCode::from_u16(status).unwrap();
                let body = Bytes::from_static(body.as_bytes());
                let failure = completion_came(*codec, "small", status, &headers, &body).unwrap_err();
                assert_eq!(sign(status, &failure), expected, "{} {status} {body:?}", codec.name());
            }
        };
        for status in [500, 502, 503, 504] {
            check(status, None, "", Sign::Dead);
        }
        check(200, None, "<html>", Sign::Dead);
        check(200, None, "", Sign::Dead);
        check(302, None, "", Sign::Dead);
        check(503, Some("3"), "", Sign::Unclear);
        check(529, None, "", Sign::Unclear);
        for status in [400, 401, 403, 404, 408, 413, 429] {
            check(status, None, "{}", Sign::Unclear);
        }
    }
}
