//! Hands one request over to a node that can serve it, and takes its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use meridian_ingress::{Budget, RequestId, TraceContext};
use meridian_llm::ClientRequest;
use meridian_resilience::{MAX_ATTEMPTS, MAX_WAIT, Patience, longest_silence};
use meridian_types::provider::Deadlines;
use meridian_types::{ModelName, RegionName};
use meridian_upstream::LinkError;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Instrument, Span};

use super::links::{Asked, Link, Verdict};
use super::told::{Told, Vain};
use super::verdict::{Judged, SILENT, UNJUDGED, UNREACHABLE, judge};
use crate::caller::{CLASS, Caller, TENANT};
use crate::gather::{Gathered, Overfull};
use crate::journal::Journal;
use crate::node::Node;
use crate::patience;
use crate::stack::ATTEMPTS;

/// Nodes that one request is handed to: each asks several targets itself.
const MAX_PEERS: usize = 2;

/// Targets that the other node may ask in turn.
const ATTEMPTS_THERE: u32 = MAX_ATTEMPTS as u32;

/// For the rest of a whole answer, which the other node has complete when it begins.
const REST: Duration = Duration::from_secs(30);

/// How often it is looked whether a node that is silent still answers probes.
const LOOK: Duration = Duration::from_millis(250);

/// The node that handed the request over, for people.
pub(crate) const VIA: HeaderName = HeaderName::from_static("x-meridian-via");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is carried of the client's headers: what requests are read by. Its key stays here.
const CARRIED: [&str; 2] = ["content-type", "x-data-region"];
const CARRIED_PREFIXES: [&str; 3] = ["anthropic-", "x-meridian-", "x-claude-code-"];

/// A request that may be handed over.
pub(crate) struct Handover<'a> {
    pub(crate) node: &'a Node,
    pub(crate) caller: &'a Caller,
    pub(crate) id: &'a RequestId,
    pub(crate) trace: &'a TraceContext,
    pub(crate) patience: Patience,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) request: &'a ClientRequest,
    /// As it came.
    pub(crate) body: &'a Bytes,
    /// Where who was asked is noted.
    pub(crate) journal: &'a Journal,
}

/// Another node's answer, begun.
pub(crate) struct Elsewhere {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
}

/// Its body.
pub(crate) enum Content {
    /// All of it.
    Whole(Bytes),
    /// Events, still to come.
    Stream(Incoming),
}

impl Handover<'_> {
    /// Asks the nodes in order until one answers, each for `limit` at most; what came of the others goes to `told`.
    pub(crate) async fn ask(
        &self,
        links: Vec<Arc<Link>>,
        reason: &'static str,
        limit: Duration,
        told: &mut Told,
    ) -> Option<Elsewhere> {
        let Ok(model) = ModelName::new(&self.request.head().model) else { return None };
        let mut asked = 0;
        for link in links {
            if asked == MAX_PEERS || !self.patience.allows(Duration::ZERO, Instant::now()) {
                break;
            }
            let region = link.peer.region.clone();
            let Some(question) = link.ask(&model) else {
                told.vain.push(Vain { region, why: "is left alone for now".to_owned() });
                continue;
            };
            asked += 1;
            let started = Instant::now();
            let span = tracing::debug_span!("hand over", otel.kind = "client", peer = %link.peer.node, %region, reason);
            // Large, and seldom needed: off the stack of the request.
            let outcome = Box::pin(self.one(&link, question, &region, reason, limit).instrument(span)).await;
            match outcome {
                Ok(answer) => return Some(answer),
                Err((why, attempts)) => {
                    told.attempts += attempts;
                    told.vain.push(Vain { region, why: format!("{why} after {} ms", started.elapsed().as_millis()) });
                }
            }
        }
        None
    }

    async fn one(
        &self,
        link: &Link,
        question: Asked,
        region: &RegionName,
        reason: &'static str,
        limit: Duration,
    ) -> Result<Elsewhere, (String, usize)> {
        let unit = self.node.host.entropy.unit();
        let note = self.journal.hand_over(&link.peer.node, region, reason);
        let count = |result| {
            self.node.metrics.handed_over(region, reason, result);
            note.end(result);
        };
        let vain = |question: Asked, verdict: Verdict, result: &'static str, why: String, attempts: usize| {
            if verdict == UNREACHABLE {
                self.node.peers.handed_over(&link.peer, false);
            }
            question.end(verdict, unit);
            count(result);
            tracing::debug!(%region, result, "handed over in vain: {why}");
            Err((why, attempts))
        };
        let response = match self.head(link, limit).await {
            Ok(response) => response,
            Err((verdict, why)) => return vain(question, verdict, "unreachable", why.to_owned(), 0),
        };
        // Whatever it says, it lives.
        self.node.peers.handed_over(&link.peer, true);
        let (head, body) = response.into_parts();
        let attempts = attempts_of(&head.headers);
        let verdict = match judge(head.status, &head.headers) {
            Judged::Final(verdict) => verdict,
            Judged::Next(verdict, result) => {
                return vain(question, verdict, result, format!("answered {}", head.status.as_u16()), attempts);
            }
        };
        let is_stream = head.status.is_success() && is_stream(&head.headers);
        let content = if is_stream { Ok(Content::Stream(body)) } else { whole(body, &self.node.budget).await };
        let content = match content {
            Ok(content) => content,
            Err((verdict, why)) => return vain(question, verdict, "unreachable", why.to_owned(), attempts),
        };
        count("ok");
        let (peer, model) = (&link.peer.node, &self.request.head().model);
        if question.end(verdict, unit) {
            tracing::info!(%model, %region, %peer, reason, "requests for the model are handed over to another region");
        } else {
            tracing::debug!(%model, %region, %peer, reason, "handed over");
        }
        Ok(Elsewhere { status: head.status, headers: passed_on(head.headers), content })
    }

    /// The head of the answer. A node that stops answering probes meanwhile is not waited for.
    async fn head(&self, link: &Link, limit: Duration) -> Result<Response<Incoming>, (Verdict, &'static str)> {
        let now = Instant::now();
        let limit = now + limit;
        let end = self.patience.first().unwrap_or(limit).min(limit);
        let asking = link.wire.post(self.request.endpoint().path(), self.carried(now), self.body.clone());
        tokio::pin!(asking);
        loop {
            tokio::select! {
                biased;
                answer = &mut asking => return answer.map_err(|error| (UNREACHABLE, unasked(&error))),
                () = sleep_until(end.min(Instant::now() + LOOK)) => {}
            }
            if Instant::now() >= end {
                // A client in a hurry says nothing about the node.
                return Err((if end < limit { UNJUDGED } else { SILENT }, "was silent"));
            }
            if !self.node.peers.is_well(&link.peer) {
                return Err((UNREACHABLE, "stopped answering probes"));
            }
        }
    }

    /// The request's headers: the client's, with what we vouch for and what is left of its time.
    fn carried(&self, now: Instant) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            let text = name.as_str();
            if CARRIED.contains(&text) || CARRIED_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
                headers.append(name, value.clone());
            }
        }
        // Names are printable ASCII, so that each makes a header.
        let mut set = |name: HeaderName, text: &str| {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        };
        set(TENANT, self.caller.tenant.as_str());
        set(CLASS, self.caller.class.as_str());
        set(VIA, self.node.name.as_str());
        set(REQUEST_ID, self.id.as_str());
        for (name, value) in patience::told(self.patience, now) {
            headers.insert(name, value);
        }
        headers.extend(self.trace.outgoing(&Span::current(), self.node.host.entropy.as_ref()));
        headers
    }
}

/// How long a node may take for the head of its answer, if the client names no time: as long as all targets that it may ask
/// take to be given up, each after a pause. `deadlines` are those of the targets that may serve.
pub(super) fn head_limit(deadlines: impl Iterator<Item = Deadlines>, streamed: bool) -> Duration {
    let silence = deadlines.map(|deadlines| longest_silence(&deadlines, streamed)).max().unwrap_or_default();
    (silence + MAX_WAIT) * ATTEMPTS_THERE
}

/// Attempts that the other node says it made.
pub(crate) fn attempts_of(headers: &HeaderMap) -> usize {
    let text = headers.get(ATTEMPTS).and_then(|attempts| attempts.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn is_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

async fn whole(mut body: Incoming, budget: &Budget) -> Result<Content, (Verdict, &'static str)> {
    let end = Instant::now() + REST;
    let mut whole = Gathered::new(budget);
    while let Some(frame) =
        timeout_at(end, body.frame()).await.map_err(|_| (UNREACHABLE, "stopped inside its answer"))?
    {
        let frame = frame.map_err(|_| (UNREACHABLE, "broke off inside its answer"))?;
        let data = frame.into_data().unwrap_or_default();
        whole.add(&data).map_err(|why| match why {
            Overfull::Itself => (UNREACHABLE, "sent a larger answer than there are"),
            Overfull::Node => (UNJUDGED, "sent an answer for which this node has no room"),
        })?;
    }
    let (bytes, share) = whole.finish();
    Ok(Content::Whole(share.hold(bytes)))
}

/// Headers that speak of one connection end with it.
fn passed_on(mut headers: HeaderMap) -> HeaderMap {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

fn unasked(error: &LinkError) -> &'static str {
    tracing::debug!(error = error as &dyn std::error::Error, "no answer from the peer");
    match error {
        LinkError::Address(_) => "has no usable address",
        LinkError::Connect(_) => "could not be connected to",
        LinkError::Broken(_) => "broke off before its answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gets_the_time_that_four_targets_of_the_slowest_kind_take() {
        let check = |response_headers_s: &[u64], streamed: bool, seconds: u64| {
            let deadlines = response_headers_s.iter().map(|seconds| {
                let response_headers = Duration::from_secs(*seconds);
                Deadlines { response_headers, first_token: Duration::from_secs(1), ..Deadlines::default() }
            });
            assert_eq!(
                head_limit(deadlines, streamed),
                Duration::from_secs(seconds),
                "{response_headers_s:?} {streamed}"
            );
        };
        check(&[], true, 4 * 5);
        check(&[1, 30], true, 4 * (2 + 30 + 5));
        check(&[30, 1], false, 4 * (2 + 120 + 5));
        check(&[90], false, 4 * (2 + 360 + 5));
    }
}
