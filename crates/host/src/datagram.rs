//! Datagrams one by one and in batches: with a system call for many, a busy socket costs half as much.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;

/// A bound UDP socket.
#[async_trait]
pub trait Datagram: Send + Sync + 'static {
    /// Receives one datagram into `buffer`: its length and where it came from.
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends one datagram.
    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize>;

    /// The real address, also when port 0 was asked for.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Waits for a datagram and takes along what else is there, as far as `batch` has room; what was in it is gone.
    async fn recv_batch(&self, batch: &mut Batch) -> io::Result<()> {
        batch.clear();
        let (length, peer) = self.recv_from(batch.free()).await?;
        batch.took(length, peer);
        Ok(())
    }

    /// Sends every datagram of `batch`, and goes on after one that cannot be sent: the last error is returned.
    async fn send_batch(&self, batch: &Batch) -> io::Result<()> {
        let mut result = Ok(());
        for (bytes, peer) in batch.iter() {
            if let Err(error) = self.send_to(bytes, peer).await {
                result = Err(error);
            }
        }
        result
    }
}

/// Room for some datagrams of limited size.
#[derive(Debug)]
pub struct Batch {
    pub(crate) buffers: Vec<Vec<u8>>,
    pub(crate) filled: Vec<(usize, SocketAddr)>,
}

impl Batch {
    /// For so many datagrams of at most so many bytes; at least one.
    pub fn new(datagrams: usize, bytes: usize) -> Self {
        let datagrams = datagrams.max(1);
        Self { buffers: vec![vec![0; bytes]; datagrams], filled: Vec::with_capacity(datagrams) }
    }

    /// The datagrams, with where they come from or go to.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let filled = self.buffers.iter().zip(&self.filled);
        filled.map(|(buffer, (length, peer))| (buffer.get(..*length).unwrap_or_default(), *peer))
    }

    /// Forgets all datagrams.
    pub fn clear(&mut self) {
        self.filled.clear();
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// Whether there is no room left.
    pub fn is_full(&self) -> bool {
        self.filled.len() >= self.buffers.len()
    }

    /// Adds a datagram; what does not fit is cut off, and if there is no room it is dropped.
    pub fn push(&mut self, bytes: &[u8], peer: SocketAddr) {
        let free = self.free();
        let length = bytes.len().min(free.len());
        if let (Some(to), Some(from)) = (free.get_mut(..length), bytes.get(..length)) {
            to.copy_from_slice(from);
            self.took(length, peer);
        }
    }

    /// The next buffer; empty if all are taken.
    fn free(&mut self) -> &mut [u8] {
        self.buffers.get_mut(self.filled.len()).map(Vec::as_mut_slice).unwrap_or_default()
    }

    fn took(&mut self, length: usize, peer: SocketAddr) {
        if !self.is_full() {
            self.filled.push((length, peer));
        }
    }
}
