//! The way to one other node: HTTP/2 over mutual TLS, one connection for everything that is handed over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use meridian_identity::{Identity, PeerTls};
use meridian_types::peer::MAX_STREAMS;
use tower::Service;

use crate::Transport;
use crate::connect::{Stream, Tcp};

/// TCP and TLS together: three round trips between the farthest regions, with one loss.
const CONNECT: Duration = Duration::from_secs(2);

/// A node that takes no notice any more is found out within five seconds, also in the middle of an answer.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// How much of one answer may be ahead of its client's reading. Across 300 ms it lets 400 KiB a second through: some 1,500
/// tokens, each an event of its own.
const STREAM_WINDOW: u32 = 128 * 1024;

/// The same for all answers on the connection: the windows of as many as the other node takes at once, 512 MiB in all. What
/// slow clients leave unread is therefore never missing to the others. That much is not held: an answer keeps a place of this
/// node, so that with 1,000 places and a fourth more for what is shed all clients together can leave 160 MiB unread.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;

// The largest window that there is (RFC 9113, section 6.9.1).
const _: () = assert!(CONNECTION_WINDOW < 1 << 31);

/// The other node could not be asked, or did not begin to answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Its address and the path make no URL.
    #[error("the peer's address is none")]
    Address(#[source] http::Error),
    /// No connection, or the other end is not the node that was meant.
    #[error("the peer could not be connected to")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// The connection broke before the answer's head.
    #[error("the connection to the peer broke before its answer")]
    Broken(#[source] hyper_util::client::legacy::Error),
}

/// The way to one other node; cheap to clone. Dropping a call or the body of its answer cancels it there.
#[derive(Clone)]
pub struct Link {
    address: String,
    tls: bool,
    client: Client<Connector, Full<Bytes>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("address", &self.address).field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Transport {
    /// The way to the node `identity` at `address` (`host:port`). Without `tls` nobody says who answers there.
    #[must_use]
    pub fn link(&self, address: &str, identity: Identity, tls: Option<PeerTls>) -> Link {
        let is_secured = tls.is_some();
        let connector =
            Connector { tcp: self.tcp.clone(), address: address.to_owned(), tls: tls.map(|tls| (tls, identity)) };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_only(true)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(connector);
        Link { address: address.to_owned(), tls: is_secured, client }
    }
}

impl Link {
    /// `POST path`: the head of the answer, with its body still to come. The caller sets the deadline.
    ///
    /// # Errors
    /// When no answer began.
    pub async fn post(
        &self,
        path: &'static str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, LinkError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri(path).map_err(LinkError::Address)?;
        *request.headers_mut() = headers;
        self.client.request(request).await.map_err(|error| match error.is_connect() {
            true => LinkError::Connect(error),
            false => LinkError::Broken(error),
        })
    }

    fn uri(&self, path: &'static str) -> Result<Uri, http::Error> {
        let authority: Authority = self.address.parse()?;
        let scheme = if self.tls { Scheme::HTTPS } else { Scheme::HTTP };
        Uri::builder().scheme(scheme).authority(authority).path_and_query(PathAndQuery::from_static(path)).build()
    }
}

/// Connects to one node, whatever the URL says.
#[derive(Clone)]
struct Connector {
    tcp: Tcp,
    address: String,
    tls: Option<(PeerTls, Identity)>,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { tcp, address, tls } = self.clone();
        let connecting = async move {
            let connection = tcp.connect(&address).await?;
            let connection = match tls {
                Some((tls, identity)) => tls.connect(connection, &identity).await?,
                None => connection,
            };
            Ok(Stream(TokioIo::new(connection.io)))
        };
        Box::pin(async move {
            tokio::time::timeout(CONNECT, connecting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        })
    }
}
