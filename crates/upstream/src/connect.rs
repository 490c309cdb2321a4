//! Connects over the host's network, with TLS where the URL says so.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{self as legacy, Connected};
use hyper_util::rt::TokioIo;
use meridian_host::{ByteStream, Connection, Network};
use rustls::ClientConfig;
use tower::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Plain TCP.
#[derive(Clone)]
pub(crate) struct Tcp {
    pub(crate) net: Arc<dyn Network>,
    pub(crate) source: Option<IpAddr>,
}

/// What is pooled: TCP, or TLS on it; the handshakes together have a deadline.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: HttpsConnector<Tcp>,
    deadline: Duration,
}

impl Connector {
    pub(crate) fn new(tcp: Tcp, tls: Arc<ClientConfig>, deadline: Duration) -> Self {
        Self { inner: HttpsConnector::from((tcp, tls)), deadline }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Stream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // The pool may go on connecting for others after the request that started it is gone.
        let connecting = tokio::time::timeout(self.deadline, self.inner.call(uri));
        Box::pin(async move { connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? })
    }
}

impl Service<Uri> for Tcp {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<Stream, io::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { net, source } = self.clone();
        Box::pin(async move {
            let host = uri.host().ok_or(io::ErrorKind::InvalidInput)?;
            let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
            let authority = format!("{host}:{}", uri.port_u16().unwrap_or(default));
            let connection = Self { net, source }.connect(&authority).await?;
            Ok(Stream(TokioIo::new(connection.io)))
        })
    }
}

impl Tcp {
    /// Connects to `host:port`.
    pub(crate) async fn connect(&self, authority: &str) -> io::Result<Connection> {
        match self.source {
            Some(source) => self.net.connect_from(source, authority).await,
            None => self.net.connect(authority).await,
        }
    }
}

/// A connection of the host's network as hyper wants it.
pub(crate) struct Stream(pub(crate) TokioIo<Box<dyn ByteStream>>);

impl legacy::Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }
}
