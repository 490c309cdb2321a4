//! What the leader clears away: old audit entries, nodes that are gone for good, and the store's history.

use std::time::Duration;

use meridian_proto::fleet::v1::{NodeSummary, NodeVerdict};
use meridian_store::{Compare, Error, Revision, Store, Txn};
use meridian_types::NodeName;

use crate::fleet::GONE;
use crate::shared::Shared;
use crate::view::{Registered, View};

/// Audit entries kept: at ten writes a day three years.
const AUDITS_KEPT: usize = 10_000;
/// Deleted in one transaction; etcd takes 128 operations.
const AT_ONCE: usize = 100;
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

/// Between two compactions; etcd keeps every revision for ever unless it is told not to ...
const COMPACT_EVERY: Duration = Duration::from_secs(3600);
/// ... of which the first of a term comes this early: a seat that changes hands every hour must not put it off for ever.
const COMPACT_FIRST: Duration = Duration::from_secs(300);
/// History that a compaction leaves: a few hours of a fleet's writes, for replicas and operators' watches that lag.
/// Whoever lags more lists again.
const KEPT_REVISIONS: u64 = 10_000;

/// When the next look is due; times count from the beginning of the term.
#[derive(Debug)]
pub(super) struct Due {
    looked_at: Option<Duration>,
    compact_at: Duration,
}

impl Default for Due {
    fn default() -> Self {
        Self { looked_at: None, compact_at: COMPACT_FIRST }
    }
}

impl Due {
    /// Deletes what is too old, if it is time. A failure is made up for by the next look.
    pub(super) async fn run(&mut self, shared: &Shared, fence: Revision, view: &View, now: Duration) {
        if self.looked_at.is_some_and(|at| now.saturating_sub(at) < INTERVAL) {
            return;
        }
        self.looked_at = Some(now);
        delete_old_audits(shared, fence, view).await;
        forget_nodes(shared, fence, view, now).await;
        if let Some(at) = self.compaction(now, view.revision)
            && let Err(error) = compact(&*shared.store, at).await
        {
            tracing::debug!(%error, %at, "the store was not compacted");
            self.compact_at = now + INTERVAL;
        }
    }

    /// Up to which revision history is to be forgotten now.
    fn compaction(&mut self, now: Duration, revision: Revision) -> Option<Revision> {
        if now < self.compact_at {
            return None;
        }
        self.compact_at = now + COMPACT_EVERY;
        let at = Revision(revision.0.saturating_sub(KEPT_REVISIONS));
        (at > Revision::ZERO).then_some(at)
    }
}

async fn delete_old_audits(shared: &Shared, fence: Revision, view: &View) {
    let surplus = view.audits.len().saturating_sub(AUDITS_KEPT).min(AT_ONCE);
    if surplus == 0 {
        return;
    }
    let mut txn = Txn::new().when(Compare::create_revision(shared.layout.leader(), fence));
    for ulid in view.audits.iter().take(surplus) {
        txn = txn.delete(shared.layout.audit(ulid));
    }
    if let Err(error) = shared.store.txn(txn).await {
        tracing::debug!(%error, "old audit entries could not be deleted");
    }
}

async fn forget_nodes(shared: &Shared, fence: Revision, view: &View, term: Duration) {
    let heard = shared.fleet.nodes();
    let unheard = unheard(view, term, |name| heard.contains_key(name));
    // One that beats and serves nobody is down as well, but would be registered again at once.
    let is_silent = |(name, _): &(&NodeName, &Registered)| heard.get(*name).is_none_or(|node| !node.is_connected());
    let gone = gone(view, shared.now_unix_ms()).filter(is_silent);
    let gone: Vec<_> = gone.chain(unheard).take(AT_ONCE / 2).collect();
    if gone.is_empty() {
        return;
    }
    let mut txn = Txn::new().when(Compare::create_revision(shared.layout.leader(), fence));
    for (name, node) in &gone {
        let key = shared.layout.node(node.region.as_str(), name.as_str());
        txn = txn.when(Compare::mod_revision(&key, node.revision)).delete(key);
    }
    match shared.store.txn(txn).await {
        Ok(outcome) if outcome.succeeded => {
            let names: Vec<&str> = gone.iter().map(|(name, _)| name.as_str()).collect();
            tracing::info!(nodes = ?names, "nodes that were down for {GONE:?} are forgotten");
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "nodes that are gone could not be forgotten"),
    }
}

/// Registered nodes that have been down for [`GONE`] while others of their region serve. Those of a region that is down as a
/// whole stay: they are what it is known by.
fn gone(view: &View, now_unix_ms: i64) -> impl Iterator<Item = (&NodeName, &Registered)> {
    let limit = i64::try_from(GONE.as_millis()).unwrap_or(i64::MAX);
    let is_old = move |node: &&NodeSummary| {
        node.verdict() == NodeVerdict::Down && now_unix_ms.saturating_sub(node.since_unix_ms) >= limit
    };
    let serves = |node: &NodeSummary| node.verdict() == NodeVerdict::Serving;
    let regions = view.summaries.values().filter(move |summary| summary.nodes.iter().any(serves));
    let nodes = regions.flat_map(move |summary| summary.nodes.iter().filter(is_old));
    nodes.filter_map(|node| view.nodes.get_key_value(node.node.as_str()))
}

/// Registered nodes that only answer DNS, which nobody judges: those of which a leader has not heard in a term of [`GONE`].
fn unheard(
    view: &View,
    term: Duration,
    is_heard: impl Fn(&NodeName) -> bool,
) -> impl Iterator<Item = (&NodeName, &Registered)> {
    let registered = view.nodes.iter().filter(move |_| term >= GONE);
    registered.filter(move |(name, node)| node.document.dns_only && !is_heard(name))
}

/// A leader of before, or the store itself, may have compacted further already: that is as good.
async fn compact(store: &dyn Store, at: Revision) -> Result<(), Error> {
    match store.compact(at).await {
        Ok(()) => {
            tracing::info!(%at, "store compacted");
            Ok(())
        }
        Err(Error::Compacted { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use meridian_proto::fleet::v1::RegionSummary;
    use meridian_proto::store::v1::RegisteredNode;
    use meridian_store::follow::{Follower, Options};
    use meridian_store::memory::MemoryStore;

    use super::*;

    #[test]
    fn compaction_is_hourly_and_leaves_its_margin() {
        let (minute, mut due) = (Duration::from_secs(60), Due::default());
        let mut check = |minutes: u32, revision: u64, expected: Option<u64>| {
            assert_eq!(due.compaction(minute * minutes, Revision(revision)), expected.map(Revision), "{minutes}");
        };
        check(0, 50_000, None);
        check(4, 50_000, None);
        check(5, 50_000, Some(40_000));
        check(6, 50_100, None);
        check(64, 60_000, None);
        check(65, 60_000, Some(50_000));
        // A young store has nothing to forget.
        check(125, KEPT_REVISIONS, None);
    }

    #[test]
    fn a_node_that_was_down_for_a_day_is_forgotten_unless_its_whole_region_is_down() {
        const NOW: i64 = 1_790_000_000_000;
        let day = i64::try_from(GONE.as_millis()).unwrap();
        let mut view = View::default();
        let mut add = |region: &str, node: &str, verdict: NodeVerdict, for_ms: i64| {
            let document = RegisteredNode::default();
            let registered = Registered { region: region.parse().unwrap(), document, revision: Revision(1) };
            view.nodes.insert(node.parse().unwrap(), registered);
            let verdict = verdict.into();
            let since_unix_ms = NOW - for_ms;
            let node = NodeSummary { node: node.to_owned(), verdict, since_unix_ms, ..NodeSummary::default() };
            let summary = view.summaries.entry(region.parse().unwrap()).or_insert_with(RegionSummary::default);
            summary.nodes.push(node);
        };
        add("eu", "serves", NodeVerdict::Serving, 9 * day);
        add("eu", "frozen", NodeVerdict::Unreachable, 9 * day);
        add("eu", "young", NodeVerdict::Down, day - 1);
        add("eu", "old", NodeVerdict::Down, day);
        add("us", "last", NodeVerdict::Down, 9 * day);
        let names: Vec<&str> = gone(&view, NOW).map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["old"]);
    }

    #[test]
    fn a_node_that_only_answers_dns_is_forgotten_when_a_leader_has_not_heard_of_it_for_a_day() {
        let mut view = View::default();
        for (name, dns_only) in [("dns-heard", true), ("dns-gone", true), ("node", false)] {
            let document = RegisteredNode { dns_only, ..RegisteredNode::default() };
            let registered = Registered { region: "eu".parse().unwrap(), document, revision: Revision(1) };
            view.nodes.insert(name.parse().unwrap(), registered);
        }
        let names = |term: Duration| -> Vec<String> {
            let unheard = unheard(&view, term, |name| name.as_str() == "dns-heard");
            unheard.map(|(name, _)| name.to_string()).collect()
        };
        assert!(names(GONE - Duration::from_secs(1)).is_empty());
        assert_eq!(names(GONE), ["dns-gone"]);
    }

    #[tokio::test]
    async fn a_follower_that_lags_behind_a_compaction_lists_again_and_a_second_compaction_is_harmless() {
        let store = MemoryStore::new(1);
        let put = async |value: &'static str| store.txn(Txn::new().put("/f/a", value)).await.unwrap().revision;
        put("1").await;
        let mut follower = Follower::new(Arc::new(store.clone()), Options::new("/f/"), Box::new(|| 0.0));
        assert_eq!(follower.next().await.unwrap().upserts.len(), 1);
        put("2").await;
        put("3").await;
        let last = put("4").await;
        compact(&store, last).await.unwrap();
        compact(&store, last).await.unwrap();
        let change = loop {
            if let Ok(change) = follower.next().await {
                break change;
            }
        };
        assert_eq!((change.resync, change.revision, &change.upserts[0].value[..]), (true, last, &b"4"[..]));
    }
}
