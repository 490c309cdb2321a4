//! Deliberate bugs of the simulated node, switched on by tests alone: a promise that was never seen broken proves nothing.

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use meridian_host::{ByteStream, Connection, Datagram, Host, Listen, Network};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Something that the node does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// It asks the first target and no other.
    HasNoFallback,
    /// With each new configuration it forgets what it learned of its targets, and one comes twice a second: no breaker and no
    /// budget ever means anything.
    ForgetsAlways,
    /// The same once, when the primary recovers.
    ForgetsAtRecovery,
    /// An address that refused a connection is never tried again.
    RemembersRefusals,
    /// The error that a dead stream ends with does not reach the client.
    EndsSilently,
    /// A dead stream ends as a complete one does.
    SaysDone,
    /// It does not notice that a client has left.
    OverlooksLeaving,
    /// Each connection that it makes leaves a task behind.
    LeavesTasks,
}

/// The node's machine.
pub(super) fn machine(host: Host, bug: Option<Bug>) -> Host {
    let Some(bug) = bug else { return host };
    Host { net: Arc::new(Tampered { inner: host.net.clone(), bug, refused: Mutex::default() }), ..host }
}

struct Tampered {
    inner: Arc<dyn Network>,
    bug: Bug,
    /// Who refused a connection.
    refused: Mutex<BTreeSet<String>>,
}

impl Tampered {
    fn refused(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Network for Tampered {
    async fn connect(&self, authority: &str) -> io::Result<Connection> {
        if self.bug == Bug::LeavesTasks {
            tokio::spawn(pending::<()>());
        }
        if self.refused().contains(authority) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let made = self.inner.connect(authority).await;
        if made.is_err() && self.bug == Bug::RemembersRefusals {
            self.refused().insert(authority.to_owned());
        }
        made
    }

    async fn connect_from(&self, _source: IpAddr, authority: &str) -> io::Result<Connection> {
        self.connect(authority).await
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listen>> {
        Ok(Box::new(Door { inner: self.inner.listen(address).await?, bug: self.bug }))
    }

    async fn datagram(&self, address: SocketAddr) -> io::Result<Box<dyn Datagram>> {
        self.inner.datagram(address).await
    }
}

/// Where clients come in.
struct Door {
    inner: Box<dyn Listen>,
    bug: Bug,
}

#[async_trait]
impl Listen for Door {
    async fn accept(&mut self) -> io::Result<Connection> {
        let Connection { io, peer, local } = self.inner.accept().await?;
        Ok(Connection { io: Box::new(Spoiled { io, bug: self.bug }), peer, local })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection to a client.
struct Spoiled {
    io: Box<dyn ByteStream>,
    bug: Bug,
}

/// An error event of a stream, of the same length, so that whoever wrote it counts right.
fn spoil(bytes: &[u8], instead: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let error = b"data: {\"error\"";
    let at = bytes.windows(error.len()).position(|window| window == error);
    if let Some(place) = at.and_then(|at| bytes.get_mut(at..at + instead.len())) {
        place.copy_from_slice(instead);
    }
    bytes
}

impl AsyncRead for Spoiled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            // Whoever left will not wake anybody.
            Poll::Ready(read)
                if self.bug == Bug::OverlooksLeaving && (read.is_err() || buffer.filled().len() == before) =>
            {
                Poll::Pending
            }
            read => read,
        }
    }
}

impl AsyncWrite for Spoiled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let spoiled = match self.bug {
            // A comment.
            Bug::EndsSilently => spoil(bytes, b": "),
            // And then a comment.
            Bug::SaysDone => spoil(bytes, b"data: [DONE]\n\n: "),
            _ => bytes.to_vec(),
        };
        match Pin::new(&mut self.io).poll_write(cx, &spoiled) {
            Poll::Ready(Err(_)) if self.bug == Bug::OverlooksLeaving => Poll::Ready(Ok(bytes.len())),
            written => written,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
