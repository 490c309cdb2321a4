//! One admitted request: its place, and the account of how it ended. Every request ends exactly once.

use std::sync::Arc;

use meridian_llm::FailureClass;
use meridian_types::{Class, ErrorCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Span;

use crate::admission::Place;
use crate::journal::Journal;
use crate::metrics::{Ended, Shed};
use crate::node::Node;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client has its whole answer.
    Answered,
    /// It was no request that could be served: the client's affair.
    Refused(ErrorCode),
    /// No target served it to its end.
    Failed(ErrorCode, Option<FailureClass>),
    /// The client left.
    Cancelled,
    /// There was no place for it, and no other node took it.
    Shed(ErrorCode),
}

/// What a request holds of this node.
pub(crate) enum Room {
    /// A place.
    Own {
        /// Given back with the request.
        _place: Place,
    },
    /// None: it was shed, and is held only while another node serves it.
    Overflow {
        /// Given back with the request.
        _slot: OwnedSemaphorePermit,
    },
}

/// An open request. Dropped before [`Ledger::end`], it counts as cancelled: only a client that leaves drops it.
pub(crate) struct Ledger {
    node: Arc<Node>,
    room: Room,
    started: Instant,
    /// Open as long as the request.
    span: Span,
    journal: Arc<Journal>,
    open: bool,
}

impl Ledger {
    pub(crate) fn open(node: &Arc<Node>, room: Room, started: Instant, span: Span, journal: Arc<Journal>) -> Self {
        // What was shed counts as that in the load of the region, and not again.
        if matches!(room, Room::Own { .. }) {
            node.window().started += 1;
        }
        node.metrics.in_flight.inc();
        Self { node: Arc::clone(node), room, started, span, journal, open: true }
    }

    /// Where what happens to it is noted.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// A request for which there is no place. If no other node serves it, it has ended.
    pub(crate) fn shed(node: &Node, class: Class) {
        node.window().shed += 1;
        node.metrics.shed.get_or_create(&Shed { class: class.as_str() }).inc();
    }

    /// One that was shed and that nobody serves.
    pub(crate) fn turned_away(node: &Node, code: ErrorCode, journal: &Journal) {
        node.recent.put(journal.close("shed", code.as_str()));
        node.metrics.requests.get_or_create(&Ended { outcome: "shed", code: code.as_str() }).inc();
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The first content goes to the client now. A whole answer begins when it ends, which says nothing of first tokens.
    pub(crate) fn first_content(&self, streamed: bool) {
        self.journal.first_content();
        if !streamed {
            return;
        }
        let waited = self.started.elapsed();
        self.node.metrics.first_token.observe(waited.as_secs_f64());
        self.node.window().first_tokens.add(waited);
    }

    /// It ended. Later calls change nothing.
    pub(crate) fn end(&mut self, end: End) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let (outcome, code, class) = match end {
            End::Answered => ("answered", "", None),
            End::Refused(code) => ("refused", code.as_str(), None),
            End::Failed(code, class) => ("failed", code.as_str(), class),
            End::Cancelled => ("cancelled", "", None),
            End::Shed(code) => ("shed", code.as_str(), None),
        };
        let took = self.started.elapsed();
        let metrics = &self.node.metrics;
        metrics.in_flight.dec();
        metrics.requests.get_or_create(&Ended { outcome, code }).inc();
        metrics.duration.observe(took.as_secs_f64());
        if matches!(self.room, Room::Own { .. }) {
            let mut window = self.node.window();
            window.finished += 1;
            window.time_in_flight += took;
            if let Some(class) = class {
                *window.errors.entry(class).or_default() += 1;
            }
        }
        self.node.recent.put(self.journal.close(outcome, code));
        tracing::debug!(parent: &self.span, outcome, code, took_ms = took.as_millis(), "request ended");
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.end(End::Cancelled);
    }
}
