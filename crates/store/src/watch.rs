//! The stream of changes that [`Store::watch`](crate::Store::watch) returns.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use crate::{Batch, Error, Result};

/// Changes of a prefix, one revision an item. Dropping it ends the watch.
///
/// After an error item there is nothing more.
pub struct Watch {
    stream: BoxStream<'static, Result<Batch>>,
    ended: bool,
}

impl Watch {
    /// Wraps a backend's stream, which must keep the promises of [`Store::watch`](crate::Store::watch).
    pub fn new(stream: impl Stream<Item = Result<Batch>> + Send + 'static) -> Self {
        Self { stream: stream.boxed(), ended: false }
    }

    /// The next revision with changes, or why there will be none. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::WatchLost`]; every call after the first error fails too.
    pub async fn recv(&mut self) -> Result<Batch> {
        match self.next().await {
            Some(item) => item,
            None => Err(Error::watch_lost("the watch has ended")),
        }
    }
}

impl Stream for Watch {
    type Item = Result<Batch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = futures::ready!(self.stream.poll_next_unpin(cx));
        self.ended = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("ended", &self.ended).finish_non_exhaustive()
    }
}
