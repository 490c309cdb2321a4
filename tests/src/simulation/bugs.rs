//! Deliberate bugs of the simulated nodes, switched on by tests alone: a promise that was never seen broken proves nothing.
//! Bugs between a replica and its store are put there by [`super::Wrap`].

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use meridian_control_client::Served;
use meridian_host::{ByteStream, Connection, Datagram, Host, Listen, Network};
use meridian_types::CommitId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::eyes::Eyes;
use super::fleet::MAX_IN_FLIGHT;

/// Something that every simulated node does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Its limiter lets in twice what the node has room for.
    AdmitsTooMuch,
    /// It keeps the digests of what it serves by the number of the commit, and does not make them anew: what its memory
    /// has become since does not show (the divergence that nobody reports).
    RemembersDigests,
    /// It does not understand what others say of a region that they lost.
    MishearsLosses,
}

/// What a node's limiter admits.
pub(super) fn max_in_flight(eyes: &Eyes) -> u32 {
    if eyes.bug == Some(Bug::AdmitsTooMuch) { MAX_IN_FLIGHT * 2 } else { MAX_IN_FLIGHT }
}

/// The machine of the node `name`.
pub(super) fn machine(name: &str, host: Host, eyes: &Eyes) -> Host {
    let tamper = match eyes.bug {
        Some(Bug::RemembersDigests) => {
            Tamper::Sends(Memory { node: name.to_owned(), eyes: eyes.clone(), first: Arc::default() })
        }
        Some(Bug::MishearsLosses) => Tamper::Receives,
        Some(Bug::AdmitsTooMuch) | None => return host,
    };
    Host { net: Arc::new(Tampered { inner: host.net.clone(), tamper }), ..host }
}

/// What a bug does to the bytes of connections that the node makes.
#[derive(Clone)]
enum Tamper {
    Sends(Memory),
    Receives,
}

/// Bytes of another node, which said that it lost a region, with a word that nobody knows.
fn mishear(bytes: &mut [u8]) {
    let (said, heard) = (b"=down;", b"=none;");
    let places: Vec<usize> =
        bytes.windows(said.len()).enumerate().filter(|(_, window)| window == said).map(|(at, _)| at).collect();
    for place in places {
        if let Some(word) = bytes.get_mut(place..place + heard.len()) {
            word.copy_from_slice(heard);
        }
    }
}

/// What the node served first under each commit's number.
#[derive(Clone)]
struct Memory {
    node: String,
    eyes: Eyes,
    first: Arc<Mutex<BTreeMap<CommitId, Served>>>,
}

impl Memory {
    /// Bytes to the control plane, with the remembered digests instead of those of what is served.
    fn spoil(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let running = self.eyes.nodes().remove(&self.node);
        let Some(served) = running.and_then(|node| node.handle.serving().vitals().served) else { return bytes };
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *first.entry(served.commit).or_insert(served);
        for (now, then) in [(served.digest, first.digest), (served.tables, first.tables)] {
            let found = bytes.windows(now.0.len()).position(|window| window == now.0);
            if let Some(place) = found.and_then(|at| bytes.get_mut(at..at + now.0.len())) {
                place.copy_from_slice(&then.0);
            }
        }
        bytes
    }
}

struct Tampered {
    inner: Arc<dyn Network>,
    tamper: Tamper,
}

#[async_trait]
impl Network for Tampered {
    async fn connect(&self, authority: &str) -> io::Result<Connection> {
        let Connection { io, peer, local } = self.inner.connect(authority).await?;
        Ok(Connection { io: Box::new(Spoiled { io, tamper: self.tamper.clone() }), peer, local })
    }

    async fn connect_from(&self, _source: IpAddr, authority: &str) -> io::Result<Connection> {
        self.connect(authority).await
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listen>> {
        self.inner.listen(address).await
    }

    async fn datagram(&self, address: SocketAddr) -> io::Result<Box<dyn Datagram>> {
        self.inner.datagram(address).await
    }
}

struct Spoiled {
    io: Box<dyn ByteStream>,
    tamper: Tamper,
}

impl AsyncRead for Spoiled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if let (Tamper::Receives, Some(new)) = (&self.tamper, buffer.filled_mut().get_mut(before..)) {
            mishear(new);
        }
        read
    }
}

impl AsyncWrite for Spoiled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Of the same length, so that whoever wrote it counts right.
        let spoiled = match &self.tamper {
            Tamper::Sends(memory) => memory.spoil(bytes),
            Tamper::Receives => return Pin::new(&mut self.io).poll_write(cx, bytes),
        };
        Pin::new(&mut self.io).poll_write(cx, &spoiled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
