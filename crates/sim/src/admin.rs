//! `/sim/*`: faults in, what was seen out. JSON both ways; without authentication, so never on a public address.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::exchange::Answer;
use crate::fault::{Rule, RuleError};
use crate::server::Shared;

/// Largest admin request: 256 rules with room to spare.
const MAX_BODY: usize = 1024 * 1024;
/// Where the endpoints live.
const PREFIX: &str = "/sim/";

/// The body of `PUT /sim/faults`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSet {
    rules: Vec<Rule>,
}

/// Whether a path is ours and not a provider's.
pub(crate) fn owns(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Answers an admin request.
pub(crate) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let query = head.uri.query().unwrap_or_default();
    match (&head.method, path.as_str()) {
        (&Method::GET, "faults") => faults(&shared),
        (&Method::PUT, "faults") => match read::<RuleSet>(body).await {
            Ok(set) => applied(&shared, shared.rules.replace(set.rules)),
            Err(answer) => answer,
        },
        (&Method::DELETE, "faults") => {
            shared.rules.clear();
            faults(&shared)
        }
        (&Method::GET, "requests") => match since(query) {
            Ok(since) => reply(StatusCode::OK, &json!({ "requests": shared.recorder.requests(since) })),
            Err(message) => failure(StatusCode::BAD_REQUEST, &message),
        },
        (&Method::DELETE, "requests") => {
            shared.recorder.clear();
            reply(StatusCode::OK, &json!({ "requests": [] }))
        }
        (&Method::GET, "stats") => reply(StatusCode::OK, &shared.recorder.stats()),
        (method, path) => match path.strip_prefix("faults/") {
            Some(name) if method == Method::PUT => put_one(&shared, name, body).await,
            Some(name) if method == Method::DELETE && shared.rules.remove(name) => faults(&shared),
            Some(_) if method == Method::DELETE => failure(StatusCode::NOT_FOUND, "no rule of that name"),
            _ => failure(StatusCode::NOT_FOUND, "no such endpoint"),
        },
    }
}

/// `PUT /sim/faults/NAME`: a rule whose name may be left out of the body.
async fn put_one(shared: &Shared, name: &str, body: Incoming) -> Answer {
    let mut document = match read::<serde_json::Map<String, serde_json::Value>>(body).await {
        Ok(document) => document,
        Err(answer) => return answer,
    };
    let given = document.entry("name").or_insert_with(|| name.into());
    if given != name {
        return failure(StatusCode::BAD_REQUEST, "the name in the body is not the one in the path");
    }
    match serde_json::from_value::<Rule>(document.into()) {
        Ok(rule) => applied(shared, shared.rules.put(rule)),
        Err(error) => failure(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn applied(shared: &Shared, result: Result<(), RuleError>) -> Answer {
    match result {
        Ok(()) => faults(shared),
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            failure(StatusCode::BAD_REQUEST, &format!("{error}{cause}"))
        }
    }
}

fn faults(shared: &Shared) -> Answer {
    reply(StatusCode::OK, &json!({ "rules": shared.rules.status() }))
}

/// `since=ID`, the only parameter.
fn since(query: &str) -> Result<u64, String> {
    match query.split_once('=') {
        None if query.is_empty() => Ok(0),
        Some(("since", id)) => id.parse().map_err(|_| format!("since={id:?} is not a request id")),
        _ => Err(format!("unknown query {query:?}; allowed is since=ID")),
    }
}

async fn read<T: serde::de::DeserializeOwned>(body: Incoming) -> Result<T, Answer> {
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err(failure(StatusCode::BAD_REQUEST, "the body is longer than 1 MiB or did not arrive")),
    };
    serde_json::from_slice(&body).map_err(|error| failure(StatusCode::BAD_REQUEST, &error.to_string()))
}

fn failure(status: StatusCode, message: &str) -> Answer {
    reply(status, &json!({ "error": message }))
}

fn reply(status: StatusCode, document: &impl Serialize) -> Answer {
    // Of these types none has a map with keys that are not strings, which is all that can fail here.
    let body = serde_json::to_vec(document).unwrap_or_default();
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
