//! gRPC over the sockets of a [`Host`](meridian_host::Host): the one place where tonic meets our network seam.
//!
//! A server turns a listener into tonic's incoming stream with [`incoming`]; a client makes a [`Channel`] to one
//! address with [`connect`]. TLS comes in as a function from connection to connection, so that this crate knows no
//! certificates; the identity that a handshake proved travels with each request as [`Peer`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{FuturesUnordered, Stream, StreamExt};
use hyper_util::rt::TokioIo;
use meridian_host::{ByteStream, Connection, Listen};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};

/// Both ends ping a connection on which nothing arrived for this long. Liveness is the pulse's task: this only finds
/// connections that nobody reads any more.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// A ping that is not answered for this long ends the connection.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP, TLS and HTTP/2 preface together: a living server in another continent needs less than 1 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// What a server may have sent on a stream before its client has read it, in bytes. Whatever is urgent waits behind so much of
/// a large commit, 0.5 s at 2 Mbit/s; hyper's 2 MiB were 8 s. It costs bulk some speed: with 200 ms there and back 16 MiB take
/// 26 s.
pub const STREAM_WINDOW: u32 = 128 << 10;
/// A client that has not finished its TLS handshake by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// TLS handshakes under way at once; while there are so many, connections wait in the listener's backlog.
const MAX_HANDSHAKES: usize = 256;

/// Who is at the other end of a connection; tonic puts it into every request's extensions.
#[derive(Debug, Clone)]
pub struct Peer<I> {
    /// Its address.
    pub address: SocketAddr,
    /// What its certificate proved; `None` without TLS.
    pub identity: Option<I>,
}

/// An accepted connection, as tonic wants it.
pub struct GrpcIo<I> {
    io: Box<dyn ByteStream>,
    peer: Peer<I>,
}

impl<I> GrpcIo<I> {
    /// Wraps a connection whose handshake, if any, is over.
    pub fn new(connection: Connection, identity: Option<I>) -> Self {
        Self { peer: Peer { address: connection.peer, identity }, io: connection.io }
    }
}

impl<I: Clone + Send + Sync + 'static> Connected for GrpcIo<I> {
    type ConnectInfo = Peer<I>;

    fn connect_info(&self) -> Peer<I> {
        self.peer.clone()
    }
}

impl<I: Unpin> AsyncRead for GrpcIo<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: Unpin> AsyncWrite for GrpcIo<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Connections of `listener` for `tonic::transport::Server::serve_with_incoming`.
///
/// `secure` is the handshake: `|connection| async { Ok((connection, None)) }` without TLS. Handshakes run side by side,
/// each with a deadline; one that fails is logged and costs nobody else anything. The stream ends when the listener
/// fails for good, with its error as the last item.
pub fn incoming<I, F, Fut>(listener: Box<dyn Listen>, secure: F) -> impl Stream<Item = io::Result<GrpcIo<I>>> + Send
where
    I: Send + 'static,
    F: Fn(Connection) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<(Connection, Option<I>)>> + Send + 'static,
{
    let state = Some((listener, secure, FuturesUnordered::new()));
    futures::stream::unfold(state, |state| async move {
        let (mut listener, secure, mut handshakes) = state?;
        loop {
            tokio::select! {
                accepted = listener.accept(), if handshakes.len() < MAX_HANDSHAKES => match accepted {
                    Ok(connection) => handshakes.push(handshake(connection.peer, secure(connection))),
                    Err(error) => return Some((Err(error), None)),
                },
                Some(done) = handshakes.next() => {
                    if let Some(io) = done {
                        return Some((Ok(io), Some((listener, secure, handshakes))));
                    }
                }
            }
        }
    })
}

async fn handshake<I>(
    peer: SocketAddr,
    secure: impl Future<Output = io::Result<(Connection, Option<I>)>>,
) -> Option<GrpcIo<I>> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, secure).await {
        Ok(Ok((connection, identity))) => Some(GrpcIo::new(connection, identity)),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "handshake took too long");
            None
        }
    }
}

/// A channel to `authority` (`host:port`), connected before this returns.
///
/// `dial` opens one connection, TLS handshake included; it is called again, lazily, when the connection was lost and
/// another call is made. One channel is one address: choosing between replicas is the caller's task.
///
/// # Errors
/// The address cannot be a URI's authority, or no connection within [`CONNECT_TIMEOUT`].
pub async fn connect<F, Fut>(authority: &str, dial: F) -> Result<Channel, tonic::transport::Error>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<Connection>> + Send + 'static,
{
    let dial = move |_| {
        let dialling = tokio::time::timeout(CONNECT_TIMEOUT, dial());
        async move {
            let connection = dialling.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok::<_, io::Error>(TokioIo::new(connection.io))
        }
    };
    // The scheme only says that tonic itself adds no TLS.
    Endpoint::from_shared(format!("http://{authority}"))?
        .initial_stream_window_size(STREAM_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(tower::service_fn(dial))
        .await
}

/// A server with the settings that [`connect`] expects; add services and call `serve_with_incoming`.
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}
