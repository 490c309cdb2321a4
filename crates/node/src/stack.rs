//! The life of a request: the whole order of its layers, in one function.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use meridian_ingress::{Audience, Body, Call, Refused, Reply, Retry};
use meridian_llm::{ClientError, ClientRequest};
use meridian_routing::{Availability, Refusal, TargetId};
use meridian_types::ErrorCode;

use crate::attempt::{Answer, Part};
use crate::attempts::{Attempts, Lost, Served, Tried};
use crate::caller::{self, Caller, Origin};
use crate::continuation::{Continuation, Kept};
use crate::journal::Journal;
use crate::ledger::{End, Ledger, Room};
use crate::node::Node;
use crate::off::Off;
use crate::relay::Relay;
use crate::rescue::rescue;
use crate::snapshot::Snapshot;
use crate::spill::{self, Found, Handover, Way};
use crate::tally::Tally;
use crate::{patience, session};

/// Serves one request that asks a model.
///
/// # Errors
/// When it is not served; the refusal is the answer.
pub(crate) async fn serve(node: &Arc<Node>, call: Call, to: &Audience, origin: Origin) -> Result<Reply, Refused> {
    // accept, in `ingress`: first, because an id, a trace and limits are due to every request, also to bad ones.
    let Call { endpoint, id, trace, span, started, headers, body } = call;
    // one snapshot: taken once, so that a configuration swapped meanwhile cannot mix with this one.
    let snapshot = node.current()?;
    let (caller, journal) = {
        let accounts = node.accounts.load();
        let now_unix_ms = node.now_unix_ms();
        // authenticate: before anything is read, held, noted or counted for a stranger.
        let tenant = caller::tenant(origin, &headers, &accounts, now_unix_ms)?;
        // note: from here on whoever asks what became of the request is answered.
        let journal = Journal::begin(to.id.clone(), endpoint, tenant.name.clone(), started, now_unix_ms);
        // residency: before any candidate exists, so that no later layer can forget it.
        let caller = Caller::of(tenant, &headers);
        (caller.inspect_err(|refused| node.note_refused(&journal, refused.error.code))?, journal)
    };
    // patience: what the client gives us bounds everything that follows, our own retries included.
    let patience = patience::of(&headers, started).inspect_err(|error| node.note_refused(&journal, error.code))?;
    // admit: before the body is read, so that a flood costs no memory; sheds at once, because waiting is worse.
    let (room, shed) = admit(node, &caller, origin, &journal)?;
    let journal = Arc::new(journal);
    let mut ledger = Ledger::open(node, room, started, span, Arc::clone(&journal));
    let outcome = async {
        // read: within the size limit and the byte budget of the node; the share is given back when content comes.
        let bytes = body.read().await.map_err(refused)?;
        let session = || session::key(&headers, &bytes);
        let request = ClientRequest::parse(endpoint, &headers, bytes.clone());
        let request = request.map_err(|error| refused(error.into()))?;
        journal.asked(&request.head().model, request.head().stream);
        // plan: one ordered list, made of what is allowed and of what is healthy now.
        let candidates = plan(node, &snapshot, &caller.constraints, &request, &session).map_err(refused)?;
        journal.planned(&candidates);
        Off::of(node, &snapshot, &caller.constraints, &request).note(&journal);
        // attempt loop: translate, send, classify, next; it ends with the first content, after which there is no other.
        let attempts = Attempts {
            node,
            snapshot: &snapshot,
            request: &request,
            trace: &trace,
            patience,
            journal: &journal,
            begun: None,
        };
        // spill over: around the loop, because another region is asked for what ours cannot serve.
        let handover = Handover {
            node,
            caller: &caller,
            id: &id,
            trace: &trace,
            patience,
            headers: &headers,
            request: &request,
            body: &bytes,
            journal: &journal,
        };
        let way = Way { snapshot: &snapshot, origin, handover };
        let found = match shed {
            None => way.around(&attempts, candidates).await.map_err(|(lost, told)| {
                let tried = lost.tried.len() + told.attempts;
                let free_in = free_in(&snapshot, &lost);
                let off = Off::of(node, &snapshot, &caller.constraints, &request);
                let (mut refused, end) = rescue(lost, free_in, &off);
                told.add_to(&mut refused);
                (refused, end, tried)
            })?,
            Some(refused) => way.instead(refused).await.map_err(|(refused, told)| {
                let end = End::Shed(refused.error.code);
                (refused, end, told.attempts)
            })?,
        };
        let streamed = request.head().stream;
        // keep: only what a dead stream needs to go on elsewhere, where the model asks for that. What another node serves
        // goes on there.
        let here = matches!(found, Found::Here(_));
        let goes_on = here && streamed && snapshot.policy(&request.head().model).continue_streams;
        let continuation = goes_on.then(|| {
            let (node, snapshot, session) = (Arc::clone(node), Arc::clone(&snapshot), session());
            let (asked, journal) = (started, Arc::clone(&journal));
            let constraints = caller.constraints.clone();
            let kept = Kept { node, snapshot, constraints, request, trace, patience, asked, session, journal };
            Box::new(Continuation::new(kept))
        });
        Ok((found, streamed, continuation))
    }
    .await;
    // settle: whatever happened is counted once, here or at the end of the stream.
    let (found, streamed, continuation) = match outcome {
        Ok(found) => found,
        Err((refused, end, tried)) => {
            ledger.end(end);
            let mut reply = refused.into_reply(to);
            reply.headers_mut().insert(ATTEMPTS, HeaderValue::from(tried));
            return Ok(reply);
        }
    };
    // stream out: last, because from here on every byte is final.
    if endpoint.generates() {
        ledger.first_content(streamed);
    }
    Ok(match found {
        Found::Here(served) => stream_out(served, streamed, continuation, ledger, to),
        Found::There(answer, attempts) => spill::reply(node, answer, attempts, ledger, to),
    })
}

/// Attempts that were made for the request, here and elsewhere.
pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("x-meridian-attempts");
const PROVIDER: HeaderName = HeaderName::from_static("x-meridian-provider");
const MODEL: HeaderName = HeaderName::from_static("x-meridian-model");
/// All of it at a glance: `REGION/NODE PROVIDER:MODEL`.
const SERVED_BY: HeaderName = HeaderName::from_static("x-meridian-served-by");
const ADJUSTED: HeaderName = HeaderName::from_static("x-meridian-adjusted");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

type Unserved = (Refused, End, usize);

/// A place for the request; or, if there is none and another node may have one, the refusal that holds if that has none
/// either.
fn admit(node: &Node, caller: &Caller, origin: Origin, journal: &Journal) -> Result<(Room, Option<Refused>), Refused> {
    let refused = match node.admission.admit(caller.class, node.pressure()) {
        Ok(place) => return Ok((Room::Own { _place: place }, None)),
        Err(refused) => refused,
    };
    Ledger::shed(node, caller.class);
    match node.spill.overflow(origin) {
        Some(slot) => Ok((Room::Overflow { _slot: slot }, Some(refused))),
        None => {
            Ledger::turned_away(node, refused.error.code, journal);
            Err(refused)
        }
    }
}

/// A request that was at fault itself, before anyone was asked.
fn refused(refused: Refused) -> Unserved {
    let end = End::Refused(refused.error.code);
    (refused, end, 0)
}

fn plan(
    node: &Node,
    snapshot: &Snapshot,
    constraints: &meridian_routing::Constraints,
    request: &ClientRequest,
    session: &dyn Fn() -> u64,
) -> Result<Vec<meridian_routing::Candidate>, Refused> {
    let off = node.switches.load();
    let health = |id: &TargetId| snapshot.health(id, &off, request.head().stream);
    let mut random = || node.host.entropy.unit();
    let plan = snapshot.table.plan(&request.head().model, constraints, &health, session, &mut random);
    plan.map_err(|refusal| {
        let (code, param) = match refusal {
            Refusal::ModelNotFound => (ErrorCode::ModelNotFound, Some("model".to_owned())),
            Refusal::Residency { .. } => (ErrorCode::ResidencyRefused, None),
        };
        let error = ClientError { code, message: refusal.to_string().into(), param };
        Refused::from(error).retry(Retry::Never)
    })
}

/// When the first of the targets that were tried is asked again by itself; `None` if one of them is so now.
fn free_in(snapshot: &Snapshot, lost: &Lost) -> Option<Duration> {
    let left = |tried: &Tried| match snapshot.availability(&tried.target) {
        Availability::Available | Availability::Ramping(_) => None,
        Availability::Cooling(left, _) => Some(left),
    };
    lost.tried.iter().map(left).min().flatten()
}

/// The answer with what is to be known about it.
fn stream_out(
    served: Served,
    streamed: bool,
    continuation: Option<Box<Continuation>>,
    mut ledger: Ledger,
    to: &Audience,
) -> Reply {
    let facts = facts(&served, ledger.node());
    let Served { answer: Answer { body, tokens }, ticket, model, .. } = served;
    let tally = Tally::open(ledger.node(), model, ticket.target().id.clone(), tokens);
    let mut reply = match body {
        Part::Whole(body) => {
            ledger.end(End::Answered);
            Response::new(whole(body))
        }
        Part::Stream(held, source) => {
            Response::new(Relay::new(held, source, ticket, tally, continuation, ledger, to.clone()).into_body())
        }
    };
    let headers = reply.headers_mut();
    *headers = facts;
    let content_type = if streamed { "text/event-stream; charset=utf-8" } else { "application/json" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if streamed {
        // Proxies on the way must neither store nor collect events.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
    reply
}

/// Who served, in headers.
fn facts(served: &Served, node: &Node) -> HeaderMap {
    let id = &served.ticket.target().id;
    let by = format!("{}/{} {}:{}", node.region, node.name, id.provider, id.model);
    let mut facts = HeaderMap::new();
    // Names are printable ASCII, so that each makes a header.
    let mut add = |name, text: &str| {
        if let Ok(value) = HeaderValue::try_from(text) {
            facts.insert(name, value);
        }
    };
    add(PROVIDER, id.provider.as_str());
    add(MODEL, id.model.as_str());
    add(SERVED_BY, &by);
    add(ATTEMPTS, &served.attempts.to_string());
    if !served.adjusted.is_empty() {
        add(ADJUSTED, &served.adjusted.join(", "));
    }
    tracing::debug!(target = %id, model = %served.model, attempts = served.attempts, "answer begins");
    facts
}

fn whole(body: bytes::Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}
