//! The paths, and what every answer gets.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use meridian_host::Entropy;
use meridian_types::ErrorCode;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::metrics::{Answered, Metrics};
use crate::reply::{json, with_type};
use crate::{Budget, Call, Limits, ModelCard, Refused, Reply, RequestId, Surface, TraceContext, Upload, request_id};

const REGION: HeaderName = HeaderName::from_static("x-meridian-region");
const NODE: HeaderName = HeaderName::from_static("x-meridian-node");

/// The content type of OpenMetrics text, which Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
    id: RequestId,
    trace: TraceContext,
    started: Instant,
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/models", get(models))
        // Names of models may hold slashes.
        .route("/v1/models/{*id}", get(model))
        .route("/healthz", get(|| async { text(StatusCode::OK, "ok\n".to_owned()) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { answer(Refused::new(ErrorCode::NotFound, "there is no such path")) })
        .method_not_allowed_fallback(|| async {
            answer(Refused::new(ErrorCode::MethodNotAllowed, "the path does not take this method"))
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), arrive))
        .with_state(shared)
}

/// Gives the request its id, trace and span, and the answer its headers.
async fn arrive(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let entropy = shared.entropy.as_ref();
    let id = RequestId::of(request.headers(), as_text(&shared.region), as_text(&shared.node), entropy);
    let trace = TraceContext::of(request.headers(), entropy);
    let route = route_of(&request);
    let span = span(route, &id, request.method());
    trace.adopt(&span);
    let version = request.version();
    request.extensions_mut().insert(Arrival { id: id.clone(), trace, started: Instant::now() });
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    shared.metrics.responses.get_or_create(&Answered { route, status }).inc();
    let headers = response.headers_mut();
    headers.insert(request_id::HEADER, id.value().clone());
    headers.insert(REGION, shared.region.clone());
    headers.insert(NODE, shared.node.clone());
    if version < Version::HTTP_2 && shared.surface.is_draining() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// None for what machines ask several times a second: it would drown the rest.
fn span(route: &'static str, id: &RequestId, method: &Method) -> Span {
    if matches!(route, "/healthz" | "/readyz" | "/metrics") {
        return Span::none();
    }
    tracing::info_span!(
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
    const ROUTES: [&str; 5] = ["/v1/chat/completions", "/v1/models", "/healthz", "/readyz", "/metrics"];
    match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
        Some(path) if path.starts_with("/v1/models/") => "/v1/models/{id}",
        Some(path) => ROUTES.into_iter().find(|route| *route == path).unwrap_or("other"),
        None => "other",
    }
}

async fn chat_completions(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let Some(Arrival { id, trace, started }) = head.extensions.remove() else {
        return answer(Refused::new(ErrorCode::Internal, "the request was not accepted"));
    };
    let upload = Upload::new(&head.headers, body, shared.limits, shared.budget.clone());
    match upload.check_declared() {
        Ok(body) => {
            let call = Call { id, trace, span: Span::current(), started, headers: head.headers, body };
            shared.surface.chat_completions(call).await.map(axum::body::Body::new)
        }
        Err(refused) => answer(refused),
    }
}

#[derive(Serialize)]
struct Card<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

#[derive(Serialize)]
struct Cards<'a> {
    object: &'static str,
    data: Vec<Card<'a>>,
}

impl<'a> From<&'a ModelCard> for Card<'a> {
    fn from(card: &'a ModelCard) -> Self {
        Self { id: &card.id, object: "model", created: card.created, owned_by: "meridian" }
    }
}

async fn models(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    match shared.surface.models(&headers) {
        Ok(cards) => body_of(&Cards { object: "list", data: cards.iter().map(Card::from).collect() }),
        Err(refused) => answer(refused),
    }
}

async fn model(State(shared): State<Arc<Shared>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match shared.surface.models(&headers) {
        Ok(cards) => match cards.iter().find(|card| card.id == id) {
            Some(card) => body_of(&Card::from(card)),
            None => answer(Refused::new(
                ErrorCode::ModelNotFound,
                "the model does not exist or you do not have access to it",
            )),
        },
        Err(refused) => answer(refused),
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.surface.ready() {
        Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    into_response(with_type(StatusCode::OK, OPEN_METRICS, shared.surface.metrics().into()))
}

fn body_of<T: Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => into_response(json(StatusCode::OK, body.into())),
        Err(_) => answer(Refused::new(ErrorCode::Internal, "the answer cannot be written")),
    }
}

fn answer(refused: Refused) -> Response {
    into_response(refused.into_reply())
}

fn text(status: StatusCode, text: String) -> Response {
    into_response(with_type(status, "text/plain; charset=utf-8", Bytes::from(text)))
}

fn into_response(reply: Reply) -> Response {
    reply.map(axum::body::Body::new)
}

fn as_text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}
