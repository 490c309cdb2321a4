//! Questions of one replica that this node is answering. A beat never waits for an answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use meridian_proto::node::v1::{self, reply};

use crate::{ANSWER_DEADLINE, Serving};

/// Questions under way; more are refused, so that asking cannot load a node.
const MAX_QUESTIONS: usize = 16;
/// Answers that wait for a beat: those under way and as many refusals.
const MAX_REPLIES: usize = 2 * MAX_QUESTIONS;

/// What is under way on one stream.
#[derive(Default)]
pub(super) struct Questions {
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = v1::Reply> + Send>>>,
    replies: Vec<v1::Reply>,
}

impl Questions {
    /// Begins to answer.
    pub(super) fn take(&mut self, queries: Vec<v1::Query>, serving: &Arc<dyn Serving>) {
        for query in queries {
            let id = query.id;
            if self.under_way.len() >= MAX_QUESTIONS {
                self.keep(failed(id, "the node is answering as many questions as it may"));
                continue;
            }
            let serving = serving.clone();
            self.under_way.push(Box::pin(async move {
                let answered = tokio::time::timeout(ANSWER_DEADLINE, serving.answer(query)).await;
                answered.map_or_else(|_| failed(id, "no answer in time"), |reply| v1::Reply { id, ..reply })
            }));
        }
    }

    /// Returns when one more answer is there; never, if there is no question.
    pub(super) async fn answered(&mut self) {
        match self.under_way.next().await {
            Some(reply) => self.keep(reply),
            None => std::future::pending().await,
        }
    }

    /// The answers that are there, for the beat that goes out now.
    pub(super) fn replies(&mut self) -> Vec<v1::Reply> {
        std::mem::take(&mut self.replies)
    }

    /// A replica that asks without end and takes no beats loses what it asked first.
    fn keep(&mut self, reply: v1::Reply) {
        if self.replies.len() == MAX_REPLIES {
            self.replies.remove(0);
        }
        self.replies.push(reply);
    }
}

fn failed(id: u64, error: &str) -> v1::Reply {
    v1::Reply { id, answer: Some(reply::Answer::Error(error.to_owned())) }
}
