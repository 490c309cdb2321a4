//! Questions that wait for their answer on one pulse stream.

use std::collections::BTreeMap;

use meridian_proto::node::v1::{Query, Reply, reply};
use tokio::sync::oneshot;

use crate::fleet::Ask;

/// Questions that wait for their answer; the oldest is given up.
const MAX_PENDING: usize = 64;

/// Numbers questions and finds who waits for a reply.
#[derive(Default)]
pub(super) struct Questions {
    last: u64,
    pending: BTreeMap<u64, oneshot::Sender<reply::Answer>>,
}

impl Questions {
    /// The question as it is sent.
    pub(super) fn put(&mut self, ask: Ask) -> Query {
        while self.pending.len() >= MAX_PENDING {
            self.pending.pop_first();
        }
        self.last += 1;
        self.pending.insert(self.last, ask.answer);
        Query { id: self.last, question: Some(ask.question) }
    }

    /// Hands the replies of a beat to who asked.
    pub(super) fn take(&mut self, replies: Vec<Reply>) {
        for Reply { id, answer } in replies {
            if let (Some(waiting), Some(answer)) = (self.pending.remove(&id), answer) {
                // Who asked may have given up.
                let _ = waiting.send(answer);
            }
        }
    }
}
