//! Questions to a node over its pulse.

use std::time::Duration;

use meridian_proto::node::v1::{query, reply};
use tokio::sync::{mpsc, oneshot};

/// Questions that wait for one stream: operators ask by hand.
const QUEUE: usize = 16;

/// A question and where its answer goes.
pub(crate) struct Ask {
    pub(crate) question: query::Question,
    pub(crate) answer: oneshot::Sender<reply::Answer>,
}

/// Puts questions to one pulse stream; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Asks {
    queue: mpsc::Sender<Ask>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the node is asked more than it answers")]
    Full,
    #[error("the node's stream ended")]
    Gone,
    #[error("the node did not answer within {0:?}")]
    Late(Duration),
    #[error("the node says: {0}")]
    Refused(String),
}

impl Asks {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (queue, asked) = mpsc::channel(QUEUE);
        (Self { queue }, asked)
    }

    /// Asks, and waits at most `limit`.
    pub(crate) async fn ask(&self, question: query::Question, limit: Duration) -> Result<reply::Answer, AskError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Ask { question, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Full,
            mpsc::error::TrySendError::Closed(_) => AskError::Gone,
        })?;
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(reply::Answer::Error(text))) => Err(AskError::Refused(text)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AskError::Gone),
            Err(_) => Err(AskError::Late(limit)),
        }
    }
}
