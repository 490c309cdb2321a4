//! The sending end of a stream to a node.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Messages that wait for the connection.
const QUEUE: usize = 8;
/// A node that takes nothing for this long has lost its end.
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// What tonic sends.
pub(crate) type Outgoing<M> = BoxStream<'static, Result<M, Status>>;

/// Where one message goes.
pub(super) type Place<'a, M> = mpsc::Permit<'a, Result<M, Status>>;

/// Sends messages to one node.
pub(crate) struct Outbox<M> {
    queue: mpsc::Sender<Result<M, Status>>,
}

/// The stream cannot go on.
#[derive(Debug)]
pub(crate) struct Closed;

impl<M: Send + 'static> Outbox<M> {
    pub(crate) fn new() -> (Self, Outgoing<M>) {
        let (queue, outgoing) = mpsc::channel(QUEUE);
        (Self { queue }, ReceiverStream::new(outgoing).boxed())
    }

    /// Waits until there is room, with a limit.
    pub(crate) async fn send(&self, message: M) -> Result<(), Closed> {
        self.queue.send_timeout(Ok(message), STUCK).await.map_err(|_| Closed)
    }

    /// Waits until the connection has taken all that was sent before, at most until `overdue`, for a place behind nothing. What
    /// is urgent overtakes whoever waits here, and has one message of bulk before it at most. Loses nothing when it is
    /// dropped.
    pub(super) async fn empty(&self, overdue: Instant) -> Result<Place<'_, M>, Closed> {
        let places = tokio::time::timeout_at(overdue, self.queue.reserve_many(QUEUE)).await;
        places.map_err(|_| Closed)?.map_err(|_| Closed)?.next().ok_or(Closed)
    }

    /// Sends only if there is room: false if there is none.
    pub(crate) fn offer(&self, message: M) -> Result<bool, Closed> {
        match self.queue.try_send(Ok(message)) {
            Ok(()) => Ok(true),
            Err(mpsc::error::TrySendError::Full(_)) => Ok(false),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Closed),
        }
    }

    /// Ends the stream with a status.
    pub(crate) async fn fail(self, status: Status) {
        // A node that does not listen is not told.
        let _ = self.queue.send_timeout(Err(status), STUCK).await;
    }

    /// Returns when the node's end is gone.
    pub(crate) async fn closed(&self) {
        self.queue.closed().await;
    }
}
