//! A stream that has died goes on at another target, for models that ask for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use meridian_ingress::TraceContext;
use meridian_llm::{ClientRequest, Failure, Splice, Transcript};
use meridian_providers::can_continue;
use meridian_resilience::Patience;
use meridian_routing::{Candidate, Constraints, TargetId};
use tokio::time::Instant;

use crate::attempts::{Attempts, Served};
use crate::journal::Journal;
use crate::node::Node;
use crate::snapshot::Snapshot;

/// Times that one stream goes on elsewhere. Each costs the whole prompt again, and an answer of more than three hands is
/// a patchwork.
const MAX_CONTINUATIONS: usize = 2;

/// What is kept of a request while its answer is streamed.
pub(crate) struct Kept {
    pub(crate) node: Arc<Node>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) constraints: Constraints,
    /// Its body goes on counting in the node's budget.
    pub(crate) request: ClientRequest,
    pub(crate) trace: TraceContext,
    pub(crate) patience: Patience,
    /// When the client asked.
    pub(crate) asked: Instant,
    /// What identifies its session.
    pub(crate) session: u64,
    /// Where who was asked is noted.
    pub(crate) journal: Arc<Journal>,
}

/// One request's way of going on.
pub(crate) struct Continuation {
    kept: Kept,
    transcript: Transcript,
    /// Who has died in this stream.
    dead: BTreeSet<TargetId>,
    done: usize,
}

impl Continuation {
    pub(crate) fn new(kept: Kept) -> Self {
        let transcript = Transcript::new(kept.request.dialect());
        Self { kept, transcript, dead: BTreeSet::new(), done: 0 }
    }

    /// These events go to the client now.
    pub(crate) fn sent(&mut self, events: &Bytes) {
        self.transcript.add(events);
    }

    /// After `failure` at `target`: another that has begun to go on, and how its events become those of the stream.
    /// `None`: nobody does, and the failure is what the client is to know.
    pub(crate) async fn resume(&mut self, target: &TargetId, failure: &Failure) -> Option<(Served, Splice)> {
        self.dead.insert(target.clone());
        let outcome = self.ask_others(failure).await;
        let result = outcome.as_ref().map_or_else(|why| *why, |_| "continued");
        self.kept.node.metrics.stream_died(result);
        tracing::debug!(target = %target, result, "a stream died after content");
        outcome.ok()
    }

    async fn ask_others(&mut self, failure: &Failure) -> Result<(Served, Splice), &'static str> {
        // A refusal is not routed around, and a client whose time is over waits for nobody.
        if !failure.class.elsewhere_may_serve() || self.done == MAX_CONTINUATIONS {
            return Err("not_continued");
        }
        let begun = self.transcript.begun().ok_or("not_text")?;
        let candidates = self.candidates();
        if candidates.is_empty() {
            return Err("no_target");
        }
        let Kept { node, snapshot, request, trace, patience, asked, journal, .. } = &self.kept;
        let patience = patience.renewed(*asked, Instant::now());
        let attempts = Attempts { node, snapshot, request, trace, patience, journal, begun: Some(begun) };
        let served = attempts.run(candidates).await.map_err(|_| "failed")?;
        self.done += 1;
        Ok((served, self.transcript.splice()))
    }

    /// Who is well, can go on, and has not died in this stream.
    fn candidates(&self) -> Vec<Candidate> {
        let Kept { node, snapshot, constraints, request, session, .. } = &self.kept;
        let off = node.switches.load();
        let health = |id: &TargetId| snapshot.health(id, &off, request.head().stream);
        let mut random = || node.host.entropy.unit();
        let plan = snapshot.table.plan(&request.head().model, constraints, &health, &|| *session, &mut random);
        let can = |candidate: &Candidate| {
            let account = snapshot.providers.get(&candidate.target.provider);
            let can = account.is_some_and(|account| can_continue(account.upstream.codec(), candidate.prefill));
            can && !candidate.last_resort && !self.dead.contains(&candidate.target)
        };
        plan.map(|plan| plan.into_iter().filter(can).collect()).unwrap_or_default()
    }
}
