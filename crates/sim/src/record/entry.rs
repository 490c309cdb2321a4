//! One request in the log.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Header names kept of one request.
const MAX_NAMES: usize = 64;
/// Bytes kept of one header value.
const MAX_VALUE: usize = 256;
/// Hexadecimal digits of a credential's digest: enough to tell two keys apart, too few to be of use.
const DIGEST_DIGITS: usize = 12;

/// Headers whose values are kept; of the others only the names.
const KEPT: [&str; 12] = [
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "host",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-meridian-timeout-ms",
    "x-request-id",
    "x-sim-fault",
    "x-stainless-retry-count",
];
/// Headers of which only a digest is kept.
const SECRET: [&str; 3] = ["authorization", "x-api-key", "api-key"];

/// A request that the simulator received.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Seen {
    /// Number of the request, from 1.
    pub id: u64,
    /// When its head arrived: milliseconds since 1970.
    pub at_unix_ms: i64,
    /// Caller.
    pub client: SocketAddr,
    /// Method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Model, once the body was read.
    pub model: Option<String>,
    /// Whether it asked for a stream.
    pub stream: Option<bool>,
    /// Names of all headers, in lower case and order of arrival, at most 64.
    pub header_names: Vec<String>,
    /// Values of some: tracing, versions, `user-agent`; of credentials `sha256:` and the first 12 digits of the digest of the
    /// key without its scheme.
    pub headers: BTreeMap<String, String>,
    /// Length of the body.
    pub body_bytes: u64,
    /// The body, if it is JSON and not longer than the log keeps.
    pub body: Option<Value>,
    /// Whether the body was longer than that.
    pub body_truncated: bool,
    /// Faults that applied.
    pub faults: Vec<String>,
    /// Status of the answer, once its head was made.
    pub status: Option<u16>,
    /// Bytes of the answer's body handed to the connection.
    pub sent_bytes: u64,
    /// Where it stands.
    pub outcome: Outcome,
    /// From arrival to the end.
    pub duration_ms: Option<u64>,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not at its end.
    InFlight,
    /// The whole answer was handed to the connection.
    Completed,
    /// The client went away before the end.
    Cancelled,
    /// A fault broke it off.
    Broken,
}

/// The head of a request.
pub(crate) struct Arrival {
    pub(crate) client: SocketAddr,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    pub(super) fn new(id: u64, at_unix_ms: i64, arrival: &Arrival) -> Self {
        let names = arrival.headers.keys().take(MAX_NAMES).map(|name| name.as_str().to_owned());
        Self {
            id,
            at_unix_ms,
            client: arrival.client,
            method: arrival.method.clone(),
            path: arrival.path.clone(),
            model: None,
            stream: None,
            header_names: names.collect(),
            headers: kept(&arrival.headers),
            body_bytes: 0,
            body: None,
            body_truncated: false,
            faults: Vec::new(),
            status: None,
            sent_bytes: 0,
            outcome: Outcome::InFlight,
            duration_ms: None,
        }
    }
}

fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    let plain = KEPT.iter().filter_map(|name| {
        let value = headers.get(*name)?.as_bytes();
        let text = String::from_utf8_lossy(value.get(..MAX_VALUE).unwrap_or(value));
        Some(((*name).to_owned(), text.into_owned()))
    });
    let secret = SECRET.iter().filter_map(|name| {
        let value = headers.get(*name)?.as_bytes();
        let key = value.strip_prefix(b"Bearer ").unwrap_or(value);
        let digest = hex::encode(Sha256::digest(key));
        Some(((*name).to_owned(), format!("sha256:{}", digest.get(..DIGEST_DIGITS).unwrap_or_default())))
    });
    plain.chain(secret).collect()
}
