//! What machines ask of a process: is it alive, is it ready, what does it count. On the listener of a node beside
//! everything else, and alone on one of its own for processes that serve no clients.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use meridian_lifecycle::Readiness;
use prometheus_client::registry::Registry;

use crate::reply::with_type;

/// The content type of OpenMetrics text, which Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a process says about itself.
pub trait Status: Send + Sync + 'static {
    /// Whether it does its work, or why not.
    ///
    /// # Errors
    /// A sentence for people.
    fn ready(&self) -> Result<(), String>;

    /// All metrics of the process in OpenMetrics text.
    fn metrics(&self) -> String;
}

/// Of a process that is ready when one thing is, and counts everything in one place.
impl Status for (Readiness, Registry) {
    fn ready(&self) -> Result<(), String> {
        self.0.check()
    }

    fn metrics(&self) -> String {
        open_metrics(&self.1)
    }
}

/// A registry in OpenMetrics text.
#[must_use]
pub fn open_metrics(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, registry);
    text
}

/// The three paths alone.
pub(crate) fn router(status: Arc<dyn Status>) -> Router {
    Router::new()
        .route("/healthz", get(async || alive()))
        .route("/readyz", get(async |State(status): State<Arc<dyn Status>>| ready(&*status)))
        .route("/metrics", get(async |State(status): State<Arc<dyn Status>>| metrics(&*status)))
        .with_state(status)
}

pub(crate) fn alive() -> Response {
    text(StatusCode::OK, "ok\n".to_owned())
}

pub(crate) fn ready(status: &(impl Status + ?Sized)) -> Response {
    match status.ready() {
        Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

pub(crate) fn metrics(status: &(impl Status + ?Sized)) -> Response {
    with_type(StatusCode::OK, OPEN_METRICS, status.metrics().into()).map(axum::body::Body::new)
}

fn text(status: StatusCode, text: String) -> Response {
    with_type(status, "text/plain; charset=utf-8", Bytes::from(text)).map(axum::body::Body::new)
}
