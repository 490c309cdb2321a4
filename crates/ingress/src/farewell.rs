//! When a connection is asked to end: its streams run on, and the client's next request looks for another place.

use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use meridian_lifecycle::Shutdown;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::guard::Version;

/// When one connection is.
pub(crate) struct Leave {
    pub(crate) shutdown: Shutdown,
    /// With the stop of the process, or ...
    pub(crate) stop: Stop,
    /// ... while its clients are sent elsewhere. Only over HTTP/2: the answers of HTTP/1.1 say `Connection: close`, and
    /// closing a connection that is idle would race with the client's next request.
    pub(crate) drained: watch::Receiver<bool>,
    pub(crate) asked: Asked,
}

/// When the stop of the process ends a connection.
pub(crate) enum Stop {
    /// As soon as the drain begins.
    OnDrain,
    /// It was taken during the linger time, at the end of which it ends.
    At(CancellationToken),
}

/// That HTTP/2 was asked over a connection. Before its first request a client cannot know better, and one that was told
/// to go so early would come back, for ever.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<Notify>);

/// Notes requests on their way to the handler.
#[derive(Debug, Clone)]
pub(crate) struct Noted<S> {
    pub(crate) handler: S,
    pub(crate) asked: Asked,
}

impl Leave {
    /// The process stops.
    pub(crate) async fn stopped(&self) {
        match &self.stop {
            Stop::OnDrain => self.shutdown.draining().await,
            Stop::At(token) => token.cancelled().await,
        }
    }

    /// The connection is to end. Looked at with each event of a stream: HTTP/1.1 has but one thing to look at.
    pub(crate) async fn wait(self, version: Version) {
        if version == Version::Http1 {
            return self.stopped().await;
        }
        let mut drained = self.drained.clone();
        let moved = async {
            self.asked.0.notified().await;
            if drained.wait_for(|drained| *drained).await.is_err() {
                // Nobody is left to say so.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = self.stopped() => {}
            () = moved => {}
        }
    }
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Noted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if request.version() == http::Version::HTTP_2 {
            self.asked.0.notify_one();
        }
        self.handler.call(request)
    }
}
