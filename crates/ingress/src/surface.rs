//! The seam to what serves requests.

use async_trait::async_trait;
use http::HeaderMap;
use meridian_llm::Endpoint;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Span;

use crate::{Refused, Reply, RequestId, Status, TraceContext, Upload};

/// A request as it was accepted.
#[derive(Debug)]
pub struct Call {
    /// What was called.
    pub endpoint: Endpoint,
    /// Its id.
    pub id: RequestId,
    /// Its place in its trace.
    pub trace: TraceContext,
    /// Its span; hold it until the answer has ended.
    pub span: Span,
    /// When its head was there.
    pub started: Instant,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, not yet read.
    pub body: Upload,
}

/// A model as `/v1/models` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCard {
    /// Its name.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
}

/// What serves requests; ready means that clients should be sent here. Dropping a returned future or an answer's body means that the client is gone.
#[async_trait]
pub trait Surface: Status {
    /// `POST` to one of the paths that ask a model.
    async fn ask(&self, call: Call) -> Reply;

    /// `GET /v1/models`: those that the caller may use, sorted.
    ///
    /// # Errors
    /// When the caller is not known.
    fn models(&self, headers: &HeaderMap) -> Result<Vec<ModelCard>, Refused>;

    /// Whether clients should not keep their connection, because the process is stopping or clients are sent elsewhere.
    fn is_leaving(&self) -> bool;

    /// Whether clients are sent elsewhere although those that come are served: HTTP/2 connections are then told to go.
    fn drained(&self) -> watch::Receiver<bool>;

    /// What this node last saw of each region, for probes that ask ([`meridian_types::probe`]); `None`: nothing.
    fn regions_seen(&self) -> Option<String> {
        None
    }
}
