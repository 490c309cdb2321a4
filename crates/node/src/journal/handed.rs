//! What is noted of other nodes that were asked to serve the request.

use std::time::Duration;

use meridian_proto::node::v1;
use meridian_types::{NodeName, RegionName};

use super::{Journal, ms};

/// Nodes noted: two are asked before the request's own targets, and two after them.
const MAX_HANDED: usize = 4;

/// One node that was asked.
#[derive(Debug)]
pub(super) struct Handed {
    node: NodeName,
    region: RegionName,
    reason: &'static str,
    began: Duration,
    took: Duration,
    /// `None`: it is being asked.
    result: Option<&'static str>,
}

/// One question to another node under way. Dropped without a result, the client has left.
#[derive(Debug)]
pub(crate) struct HandedNote<'a> {
    journal: &'a Journal,
    index: usize,
}

impl Journal {
    /// Another node is asked now.
    pub(crate) fn hand_over(&self, node: &NodeName, region: &RegionName, reason: &'static str) -> HandedNote<'_> {
        let began = self.began.elapsed();
        let mut notes = self.notes();
        let index = notes.handed.len();
        if index < MAX_HANDED {
            let (node, region) = (node.clone(), region.clone());
            notes.handed.push(Handed { node, region, reason, began, took: Duration::ZERO, result: None });
        }
        HandedNote { journal: self, index }
    }
}

impl HandedNote<'_> {
    /// What came of it, in the metric's words.
    pub(crate) fn end(&self, result: &'static str) {
        let now = self.journal.began.elapsed();
        if let Some(handed) = self.journal.notes().handed.get_mut(self.index)
            && handed.result.is_none()
        {
            handed.took = now.saturating_sub(handed.began);
            handed.result = Some(result);
        }
    }
}

impl Drop for HandedNote<'_> {
    fn drop(&mut self) {
        self.end("dropped");
    }
}

impl Handed {
    pub(super) fn record(&self) -> v1::HandoverRecord {
        v1::HandoverRecord {
            node: self.node.to_string(),
            region: self.region.to_string(),
            reason: self.reason.to_owned(),
            began_ms: ms(self.began),
            took_ms: ms(self.took),
            result: self.result.unwrap_or("dropped").to_owned(),
        }
    }
}
