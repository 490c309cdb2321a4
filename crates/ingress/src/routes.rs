//! The paths, and what every answer gets.

use std::sync::Arc;

use axum::extract::{MatchedPath, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use meridian_host::Entropy;
use meridian_llm::{Dialect, Endpoint};
use meridian_types::{ErrorCode, probe};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::metrics::{Answered, Metrics};
use crate::{
    Audience, Budget, Call, Callers, Limits, Refused, Reply, RequestId, Surface, TraceContext, Upload, models,
    request_id, stall, status,
};

const REGION: HeaderName = HeaderName::from_static("x-meridian-region");
const NODE: HeaderName = HeaderName::from_static("x-meridian-node");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// What handlers need.
pub(crate) struct Shared {
    pub(crate) surface: Arc<dyn Surface>,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) region: HeaderValue,
    pub(crate) node: HeaderValue,
    pub(crate) metrics: Metrics,
}

/// What a request was given on arrival.
#[derive(Clone)]
struct Arrival {
    from: Audience,
    trace: TraceContext,
    started: Instant,
}

impl Arrival {
    fn refuse(&self, refused: Refused) -> Response {
        into_response(refused.into_reply(&self.from))
    }
}

pub(crate) fn router(callers: Callers, shared: Arc<Shared>) -> Router {
    let asking = [Endpoint::ChatCompletions, Endpoint::Messages, Endpoint::CountTokens]
        .into_iter()
        .fold(Router::new(), |router, endpoint| router.route(endpoint.path(), asking(endpoint)));
    let routes = match callers {
        Callers::Peers => asking,
        Callers::Clients => asking
            .route("/v1/models", get(all_models))
            // Names of models may hold slashes.
            .route("/v1/models/{*id}", get(one_model))
            .route("/healthz", get(alive))
            .route("/readyz", get(async |State(shared): State<Arc<Shared>>| status::ready(&*shared.surface)))
            .route("/metrics", get(async |State(shared): State<Arc<Shared>>| status::metrics(&*shared.surface))),
    };
    routes
        .fallback(|Extension(arrival): Extension<Arrival>| async move {
            arrival.refuse(Refused::new(ErrorCode::NotFound, "there is no such path"))
        })
        .method_not_allowed_fallback(|Extension(arrival): Extension<Arrival>| async move {
            arrival.refuse(Refused::new(ErrorCode::MethodNotAllowed, "the path does not take this method"))
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), arrive))
        .with_state(shared)
}

/// Alive; to a probe of another node it also says what this one sees.
async fn alive(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let mut response = status::alive();
    let seen = headers.contains_key(probe::ASKS).then(|| shared.surface.regions_seen()).flatten();
    if let Some(seen) = seen.and_then(|seen| HeaderValue::from_str(&seen).ok()) {
        response.headers_mut().insert(HeaderName::from_static(probe::SEEN), seen);
    }
    response
}

/// Refuses what is too large, and gives the request its id, trace and span, and the answer its headers.
async fn arrive(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    if head_bytes(&request) > shared.limits.max_head_bytes {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return response;
    }
    let entropy = shared.entropy.as_ref();
    let id = RequestId::of(request.headers(), as_text(&shared.region), as_text(&shared.node), entropy);
    let trace = TraceContext::of(request.headers(), entropy);
    let dialect = dialect_of(&request);
    let route = route_of(&request);
    let span = span(route, &id, request.method());
    trace.adopt(&span);
    let version = request.version();
    let from = Audience { dialect, id: id.clone() };
    request.extensions_mut().insert(Arrival { from, trace, started: Instant::now() });
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    shared.metrics.responses.get_or_create(&Answered { route, status }).inc();
    let headers = response.headers_mut();
    headers.insert(request_id::HEADER, id.value().clone());
    if dialect == Dialect::Anthropic {
        // Its SDKs look for the id there.
        headers.insert(REQUEST_ID, id.value().clone());
    }
    // Unless another node served: then its name stands there already.
    headers.entry(REGION).or_insert_with(|| shared.region.clone());
    headers.entry(NODE).or_insert_with(|| shared.node.clone());
    if version < Version::HTTP_2 && shared.surface.is_leaving() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if version == Version::HTTP_2 {
        return response.map(|body| stall::watched(body, &shared.limits));
    }
    response
}

/// Bytes of the head, without its punctuation. Counted here because the HTTP/1 layer looks at its own limit only between
/// reads, and they double: a head of nearly twice the limit passes if it comes fast.
fn head_bytes(request: &Request) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    fields.fold(target, usize::saturating_add)
}

/// None for what machines ask several times a second: it would drown the rest. Of level DEBUG, so that it costs nothing
/// where nobody looks; an exporter sees it whatever is logged.
fn span(route: &'static str, id: &RequestId, method: &Method) -> Span {
    if matches!(route, "/healthz" | "/readyz" | "/metrics") {
        return Span::none();
    }
    tracing::debug_span!(
        "request",
        otel.name = route,
        otel.kind = "server",
        request_id = %id,
        http.request.method = %method,
        http.response.status_code = tracing::field::Empty,
    )
}

/// The route's pattern, from a closed set.
fn route_of(request: &Request) -> &'static str {
    const ROUTES: [&str; 7] = [
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/healthz",
        "/readyz",
        "/metrics",
    ];
    match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
        Some(path) if path.starts_with("/v1/models/") => "/v1/models/{id}",
        Some(path) => ROUTES.into_iter().find(|route| *route == path).unwrap_or("other"),
        None => "other",
    }
}

/// Which dialect the client speaks: by the path where it is of one dialect only, else by the header that every Anthropic
/// client sends.
fn dialect_of(request: &Request) -> Dialect {
    let path = request.uri().path();
    let is_below =
        |parent: &str| path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_below("/v1/messages") {
        Dialect::Anthropic
    } else if is_below("/v1/chat") || !request.headers().contains_key(ANTHROPIC_VERSION) {
        Dialect::OpenAi
    } else {
        Dialect::Anthropic
    }
}

/// A route to a path that asks a model.
fn asking(endpoint: Endpoint) -> MethodRouter<Arc<Shared>> {
    post(move |State(shared): State<Arc<Shared>>, Extension(arrival): Extension<Arrival>, request: Request| {
        ask(shared, arrival, endpoint, request)
    })
}

async fn ask(shared: Arc<Shared>, arrival: Arrival, endpoint: Endpoint, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let upload = Upload::new(&head.headers, body, shared.limits, shared.budget.clone());
    match upload.check_declared() {
        Ok(body) => {
            let Arrival { from: Audience { id, .. }, trace, started } = arrival;
            let call = Call { endpoint, id, trace, span: Span::current(), started, headers: head.headers, body };
            into_response(shared.surface.ask(call).await)
        }
        Err(refused) => arrival.refuse(refused),
    }
}

async fn all_models(
    State(shared): State<Arc<Shared>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
) -> Response {
    let listed = shared.surface.models(&headers).and_then(|cards| models::list(arrival.from.dialect, &cards));
    listed.map_or_else(|refused| arrival.refuse(refused), into_response)
}

async fn one_model(
    State(shared): State<Arc<Shared>>,
    Extension(arrival): Extension<Arrival>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let found = shared.surface.models(&headers).and_then(|cards| models::one(arrival.from.dialect, &cards, &id));
    found.map_or_else(|refused| arrival.refuse(refused), into_response)
}

fn into_response(reply: Reply) -> Response {
    reply.map(axum::body::Body::new)
}

fn as_text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, has_version: bool, expected: Dialect) {
        let mut request = Request::new(axum::body::Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        if has_version {
            request.headers_mut().insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
        }
        assert_eq!(dialect_of(&request), expected, "{path} {has_version}");
    }

    #[test]
    fn the_path_says_which_dialect_is_spoken_and_the_version_header_where_it_does_not() {
        use Dialect::{Anthropic, OpenAi};
        for has_version in [false, true] {
            for path in ["/v1/messages", "/v1/messages?beta=true", "/v1/messages/count_tokens", "/v1/messages/batches"]
            {
                check(path, has_version, Anthropic);
            }
            check("/v1/chat/completions", has_version, OpenAi);
        }
        for path in ["/v1/models", "/v1/models/v1/messages", "/v1/messagesque", "/nothing"] {
            check(path, false, OpenAi);
            check(path, true, Anthropic);
        }
    }
}
