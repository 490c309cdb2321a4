//! One connection: HTTP/1.1 by hyper, and an end by hand where a fault wants one that hyper would not make.

use std::any::Any;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use meridian_host::{ByteStream, Connection};
use meridian_lifecycle::Shutdown;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::link::{BrokenOff, LastWords, Link};
use crate::server::Shared;
use crate::{admin, exchange};

/// How long the last words of a broken connection may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves one connection to its end.
pub(crate) async fn serve(shared: Arc<Shared>, connection: Connection, shutdown: Shutdown) {
    let link = Link::default();
    let service = {
        let (link, client) = (link.clone(), connection.peer);
        service_fn(move |request| dispatch(shared.clone(), link.clone(), client, request))
    };
    let io = TokioIo::new(connection.io);
    let mut http = http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service);
    let mut draining = false;
    loop {
        tokio::select! {
            // An error is a client that left, or a fault: both are in the record already.
            _ = &mut http => break,
            () = shutdown.draining(), if !draining => draining = true,
            () = shutdown.forced() => return,
        }
        Pin::new(&mut http).graceful_shutdown();
    }
    if let Some(words) = link.last_words() {
        speak(words, http.into_parts().io.into_inner()).await;
    }
}

async fn dispatch(
    shared: Arc<Shared>,
    link: Link,
    client: SocketAddr,
    request: Request<Incoming>,
) -> Result<exchange::Answer, BrokenOff> {
    if admin::owns(request.uri().path()) {
        return Ok(admin::answer(shared, request).await);
    }
    exchange::answer(shared, link, client, request).await
}

async fn speak(words: LastWords, mut io: Box<dyn ByteStream>) {
    match words {
        LastWords::None => {}
        LastWords::Reset => reset(io),
        LastWords::Raw(bytes) => {
            let write = async {
                io.write_all(&bytes).await?;
                io.shutdown().await
            };
            // Whoever does not read them in time does without.
            let _ = tokio::time::timeout(LAST_WORDS, write).await;
        }
    }
}

/// Closes with a reset where the stream is a TCP socket; another stream just ends.
pub(crate) fn reset(io: Box<dyn ByteStream>) {
    let any: &dyn Any = io.as_ref();
    if let Some(socket) = any.downcast_ref::<TcpStream>()
        && let Err(error) = socket.set_zero_linger()
    {
        tracing::debug!(%error, "cannot reset a connection; it is closed");
    }
}
