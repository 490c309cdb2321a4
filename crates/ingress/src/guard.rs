//! Watches over one connection's socket: a client must begin to speak, which tells its version, and must take what is
//! written to it, and that not too slowly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meridian_host::ByteStream;
use meridian_resilience::Meter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Limits;

/// HTTP/2's connection preface (RFC 9113, section 3.4). While what came is a beginning of it, the version is not known
/// and no other time limit runs.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is read to tell the version. Mostly it holds a whole request, which the HTTP layer then takes in one piece; when
/// fed the preface's 24 bytes and then the rest, it doubles its buffer for as long as the connection lives.
const FIRST_READ: usize = 8 * 1024;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// A socket under watch.
pub(crate) struct Guarded {
    io: Box<dyn ByteStream>,
    limits: Limits,
    /// Read to tell the version, and not yet taken.
    ahead: Bytes,
    /// Bytes seen that are a beginning of the preface; `None` once the version is known.
    undecided: Option<(usize, Pin<Box<Sleep>>)>,
    /// Since when a write is stuck, and for how long it may be.
    stuck: Option<(Instant, Pin<Box<Sleep>>)>,
    /// What the client takes, over the time in which a write was stuck.
    taken: Meter,
}

impl Guarded {
    pub(crate) fn new(io: Box<dyn ByteStream>, limits: Limits) -> Self {
        let patience = Box::pin(sleep_until(Instant::now() + limits.first_byte));
        let taken = Meter::new(limits.min_taken_per_s, limits.write_stall);
        Self { io, limits, ahead: Bytes::new(), undecided: Some((0, patience)), stuck: None, taken }
    }

    /// Waits for the first bytes, and tells by them what the client speaks: HTTP/2 begins with its preface, whether it was
    /// agreed on by TLS or is known beforehand (RFC 9113, section 3.3). To be called once, before anything is read.
    pub(crate) async fn version(&mut self) -> io::Result<Version> {
        let mut first = BytesMut::with_capacity(FIRST_READ);
        while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
            if self.read_buf(&mut first).await? == 0 {
                break;
            }
        }
        let version = if first.starts_with(PREFACE) { Version::Http2 } else { Version::Http1 };
        self.ahead = first.freeze();
        Ok(version)
    }

    fn track(&mut self, bytes: &[u8]) {
        if let Some((seen, _)) = &mut self.undecided {
            let rest = PREFACE.get(*seen..).unwrap_or_default();
            let beginning = bytes.len() < rest.len() && rest.starts_with(bytes);
            *seen += bytes.len();
            if !beginning {
                self.undecided = None;
            }
        }
    }

    /// Bounds how long a write or flush may be stuck, and how slowly the client may take `bytes` of what it ends with.
    fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let done = match outcome {
            Poll::Ready(Ok(done)) => done,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                let (now, limit) = (Instant::now(), self.limits.write_stall);
                let (_, sleep) = self.stuck.get_or_insert_with(|| (now, Box::pin(sleep_until(now + limit))));
                ready!(sleep.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        };
        let waited = self.stuck.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        let fast_enough = self.taken.add(bytes(&done), waited);
        Poll::Ready(fast_enough.map(|()| done).map_err(|_| io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let some = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(some));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().get(before..).unwrap_or_default();
                self.track(read);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => match &mut self.undecided {
                Some((_, patience)) => {
                    ready!(patience.as_mut().poll(cx));
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
                None => Poll::Pending,
            },
            failed => failed,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.bound(cx, written, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.bound(cx, written, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// With TLS it is mostly here that a client is waited for: what is written goes into a buffer of the session.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.bound(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, empty, join, sink};

    use super::*;

    /// How long a read waits after `sent` came, if it ends at all.
    async fn patience(sent: &[u8]) -> Option<std::time::Duration> {
        let (mut client, server) = duplex(64);
        let mut guarded = Guarded::new(Box::new(server), Limits::default());
        client.write_all(sent).await.unwrap();
        let mut buffer = vec![0; sent.len()];
        guarded.read_exact(&mut buffer).await.unwrap();
        let started = Instant::now();
        let more = tokio::time::timeout(std::time::Duration::from_secs(1000), guarded.read_u8());
        more.await.ok().map(|_| started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_before_the_version_is_known_ends_the_connection() {
        let limit = Some(Limits::default().first_byte);
        assert_eq!(patience(b"").await, limit);
        assert_eq!(patience(b"P").await, limit);
        assert_eq!(patience(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r").await, limit);
        assert_eq!(patience(PREFACE).await, None);
        assert_eq!(patience(b"POST /").await, None);
    }

    /// What is told of a client whose bytes come in `parts`, one a read, and what of it is read afterwards.
    async fn told(parts: &[&[u8]]) -> (Version, Vec<u8>) {
        let nothing: Box<dyn AsyncRead + Send + Unpin> = Box::new(empty());
        let reads = parts.iter().fold(nothing, |before, part| Box::new(before.chain(io::Cursor::new(part.to_vec()))));
        let mut guarded = Guarded::new(Box::new(join(reads, sink())), Limits::default());
        let (version, mut rest) = (guarded.version().await.unwrap(), Vec::new());
        guarded.read_to_end(&mut rest).await.unwrap();
        (version, rest)
    }

    #[tokio::test]
    async fn the_version_is_told_however_the_first_bytes_come_and_none_is_lost() {
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        let cases: [(&[&[u8]], Version); 7] = [
            (&[PREFACE, settings], Version::Http2),
            (&[b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r\n\0\0\0\x04\0\0\0\0\0"], Version::Http2),
            (&[b"P", b"R", b"I *"], Version::Http1),
            (&[b"P", b"OST / HTTP/1.1\r\n\r\n"], Version::Http1),
            (&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!"], Version::Http1),
            (&[b"GET / HTTP/1.1\r\n", b"\r\n"], Version::Http1),
            (&[], Version::Http1),
        ];
        for (parts, version) in cases {
            assert_eq!(told(parts).await, (version, parts.concat()), "{parts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_counts_as_gone() {
        let (_client, server) = duplex(16);
        let mut guarded = Guarded::new(Box::new(server), Limits::default());
        let started = Instant::now();
        let error = guarded.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), Limits::default().write_stall);
    }

    /// Seconds until a client is cut that takes `bytes` every `every_s`, within an hour.
    async fn cut_after(bytes: usize, every_s: u64) -> Option<u64> {
        let (mut client, server) = duplex(16 * 1024);
        let mut guarded = Guarded::new(Box::new(server), Limits::default());
        let started = Instant::now();
        let writing = async { while guarded.write_all(&[0; 4096]).await.is_ok() {} };
        let reading = async {
            let mut taken = vec![0; bytes];
            loop {
                tokio::time::sleep(Duration::from_secs(every_s)).await;
                if client.read_exact(&mut taken).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = writing => Some(started.elapsed().as_secs()),
            () = reading => None,
            () = tokio::time::sleep(Duration::from_secs(3600)) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_counts_as_gone_and_a_slow_one_does_not() {
        assert_eq!(cut_after(1500, 50).await, Some(100), "when a minute of waiting is over");
        assert_eq!(cut_after(100, 1).await, Some(60));
        assert_eq!(cut_after(1100, 1).await, None);
        assert_eq!(cut_after(16 * 1024, 15).await, None);
    }
}
