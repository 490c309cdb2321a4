//! The requests that ended last, for `explain request`. A ring of slots that are swapped: no request waits for another
//! one, nor for a reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use meridian_proto::node::v1;

use crate::journal::Closed;

/// Requests remembered: at a hundred a second 20 s, at one a second half an hour. About 1 KiB each.
const REMEMBERED: usize = 2048;
/// Requests with one id that are told.
const MAX_FOUND: usize = 4;

/// The ring.
pub(crate) struct Recent {
    slots: Box<[ArcSwapOption<Closed>]>,
    /// Requests put in so far.
    count: AtomicUsize,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self::of(REMEMBERED)
    }

    fn of(size: usize) -> Self {
        Self { slots: (0..size).map(|_| ArcSwapOption::empty()).collect(), count: AtomicUsize::new(0) }
    }

    /// Remembers a request, in place of the oldest.
    pub(crate) fn put(&self, closed: Closed) {
        let at = self.count.fetch_add(1, Ordering::Relaxed) % self.slots.len().max(1);
        if let Some(slot) = self.slots.get(at) {
            slot.store(Some(Arc::new(closed)));
        }
    }

    /// What is known of requests with this id, and how far back this memory goes.
    pub(crate) fn find(&self, id: &str, node: &str, region: &str) -> v1::FoundRequest {
        let mut found: Vec<Arc<Closed>> = Vec::new();
        let (mut remembered, mut oldest_unix_ms) = (0, 0);
        for closed in self.slots.iter().filter_map(ArcSwapOption::load_full) {
            remembered += 1;
            let began = closed.began_unix_ms;
            oldest_unix_ms = if oldest_unix_ms == 0 { began } else { began.min(oldest_unix_ms) };
            if closed.is(id) {
                found.push(closed);
            }
        }
        found.sort_by_key(|closed| std::cmp::Reverse(closed.began_unix_ms));
        let records = found.iter().take(MAX_FOUND).map(|closed| closed.record(node, region)).collect();
        v1::FoundRequest { records, remembered, oldest_unix_ms }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use meridian_ingress::RequestId;
    use meridian_llm::Endpoint;
    use tokio::time::Instant;

    use super::*;
    use crate::journal::Journal;

    fn closed(id: &str, began_unix_ms: i64) -> Closed {
        let headers = HeaderMap::from_iter([("x-request-id".parse().unwrap(), HeaderValue::from_str(id).unwrap())]);
        let id = RequestId::of(&headers, "eu", "n1", &meridian_host::OsEntropy);
        let journal = Journal::begin(id, Endpoint::Messages, "acme".parse().unwrap(), Instant::now(), began_unix_ms);
        journal.close("answered", "")
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_are_remembered_and_it_is_said_how_far_back() {
        let recent = Recent::of(3);
        let find = |id: &str| {
            let found = recent.find(id, "n1", "eu");
            let began: Vec<_> = found.records.iter().map(|record| record.began_unix_ms).collect();
            (began, found.remembered, found.oldest_unix_ms)
        };
        assert_eq!(find("a"), (vec![], 0, 0));
        for (id, at) in [("a", 1), ("b", 2), ("a", 3)] {
            recent.put(closed(id, at));
        }
        assert_eq!(find("a"), (vec![3, 1], 3, 1));
        recent.put(closed("c", 4));
        assert_eq!(find("a"), (vec![3], 3, 2), "the oldest has aged out");
        recent.put(closed("c", 5));
        recent.put(closed("c", 6));
        assert_eq!(find("a"), (vec![], 3, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn one_id_is_told_a_few_times_at_most() {
        let recent = Recent::of(16);
        (0..16).for_each(|at| recent.put(closed("a", at)));
        assert_eq!(recent.find("a", "n1", "eu").records.len(), MAX_FOUND);
    }
}
