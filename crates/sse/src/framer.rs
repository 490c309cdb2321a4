//! Cuts a byte stream into events, whatever the chunks, within a size limit.

use bytes::{Buf, Bytes, BytesMut};

use crate::{Boundary, Event};

/// The largest event accepted by default. Model APIs send a token or a few kilobytes an event; inline audio and whole
/// tool arguments reach hundreds of kilobytes. Above this a peer is broken or hostile.
pub const DEFAULT_MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why a stream cannot be framed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// One event is larger than the limit.
    #[error("event exceeds {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Incremental framer: [`feed`](Self::feed) a chunk, then take events with [`next_event`](Self::next_event) until
/// it has none.
///
/// At most one unfinished event is held, bounded by the limit; the chunk last fed is held by reference.
#[derive(Debug)]
pub struct Framer {
    /// What was fed and not yet scanned.
    unread: Bytes,
    /// The beginning of an event whose end has not come.
    partial: BytesMut,
    boundary: Boundary,
    at_stream_start: bool,
    max_event_bytes: usize,
    failed: Option<FrameError>,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_EVENT_BYTES)
    }
}

impl Framer {
    /// A framer that refuses events larger than `max_event_bytes`, line ends included.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            unread: Bytes::new(),
            partial: BytesMut::new(),
            boundary: Boundary::default(),
            at_stream_start: true,
            max_event_bytes,
            failed: None,
        }
    }

    /// Adds a received chunk. Events of the previous chunk that were not taken are kept, at the cost of a copy.
    pub fn feed(&mut self, chunk: Bytes) {
        if self.unread.is_empty() {
            self.unread = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.unread.len() + chunk.len());
            joined.extend_from_slice(&self.unread);
            joined.extend_from_slice(&chunk);
            self.unread = joined.freeze();
        }
    }

    /// The next whole event, or `None` until more is fed.
    ///
    /// # Errors
    /// When an event exceeds the limit; the stream cannot be resumed and every later call fails alike.
    pub fn next_event(&mut self) -> Result<Option<Event>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.next_raw().map(|raw| raw.map(Event::parse)).inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// True when nothing of an unfinished event is held. At the end of a body, `false` means that the peer
    /// stopped inside an event, which by the specification is discarded.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.partial.is_empty() && self.unread.is_empty()
    }

    fn next_raw(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.at_stream_start && !self.drop_byte_order_mark() {
            return Ok(None);
        }
        if self.partial.is_empty() && self.boundary.skip_lf(&self.unread) {
            self.unread.advance(1);
        }
        match self.boundary.scan(&self.unread) {
            Some(end) => {
                self.check_size(end)?;
                let tail = self.unread.split_to(end);
                if self.partial.is_empty() {
                    return Ok(Some(tail));
                }
                self.partial.extend_from_slice(&tail);
                Ok(Some(self.partial.split().freeze()))
            }
            None => {
                self.check_size(self.unread.len())?;
                self.partial.extend_from_slice(&self.unread);
                self.unread.clear();
                Ok(None)
            }
        }
    }

    fn check_size(&self, more: usize) -> Result<(), FrameError> {
        if self.partial.len() + more > self.max_event_bytes {
            return Err(FrameError::TooLarge { limit: self.max_event_bytes });
        }
        Ok(())
    }

    /// Drops one leading byte order mark; false while too few bytes are here to tell.
    fn drop_byte_order_mark(&mut self) -> bool {
        if self.unread.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.unread) {
            return false;
        }
        if self.unread.starts_with(BYTE_ORDER_MARK) {
            self.unread.advance(BYTE_ORDER_MARK.len());
        }
        self.at_stream_start = false;
        true
    }
}

#[cfg(test)]
mod tests;
