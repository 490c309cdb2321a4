//! When a connection is asked to end: its streams run on, and the client's next request looks for another place.

use std::sync::Arc;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::Service;
use meridian_lifecycle::Shutdown;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// When one connection is.
pub(crate) struct Leave {
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
    pub(crate) async fn wait(self, shutdown: &Shutdown) {
        let Self { stop, mut drained, asked } = self;
        let stopped = async {
            match stop {
                Stop::OnDrain => shutdown.draining().await,
                Stop::At(token) => token.cancelled().await,
            }
        };
        let moved = async {
            asked.0.notified().await;
            if drained.wait_for(|drained| *drained).await.is_err() {
                // Nobody is left to say so.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = stopped => {}
            () = moved => {}
        }
    }
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Noted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if request.version() == Version::HTTP_2 {
            self.asked.0.notify_one();
        }
        self.handler.call(request)
    }
}
