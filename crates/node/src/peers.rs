//! What this node's probes saw of the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meridian_control_client::Peer;
use meridian_health::agreement::{Probe, Told};
use meridian_proto::node::v1;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::gossip;

/// The list of peers, and the newest observation of each.
pub(crate) struct Peers {
    list: watch::Sender<Arc<[Peer]>>,
    seen: Mutex<BTreeMap<Peer, Seen>>,
    /// A peer's state flipped: the next beat should carry the report.
    flipped: Notify,
}

/// The newest observation of one peer.
struct Seen {
    reachable: bool,
    at: Instant,
    streak: u32,
    detail: String,
    /// What it said of the regions when it last answered.
    told: Vec<Told>,
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self { list: watch::Sender::new(Arc::from([])), seen: Mutex::default(), flipped: Notify::new() }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<Peer, Seen>> {
        // Each entry is written whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these; what is known of the others is forgotten.
    pub(crate) fn replace(&self, peers: Arc<[Peer]>) {
        self.seen().retain(|peer, _| peers.contains(peer));
        self.list.send_if_modified(|list| {
            let changed = *list != peers;
            *list = peers;
            changed
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<[Peer]>> {
        self.list.subscribe()
    }

    /// Takes the outcome of one probe: what the peer said of the regions, or why it did not answer.
    pub(crate) fn record(&self, peer: &Peer, outcome: Result<Option<String>, String>) {
        let (reachable, detail, told) = match outcome {
            Ok(seen) => (true, String::new(), gossip::read(&peer.region, seen.as_deref().unwrap_or_default())),
            Err(detail) => (false, detail, Vec::new()),
        };
        let mut all = self.seen();
        let before = all.get(peer);
        let same = before.filter(|before| before.reachable == reachable);
        let streak = same.map_or(1, |before| before.streak.saturating_add(1));
        // That a new peer answers is no news; that it does not is.
        let flipped = before.map_or(!reachable, |before| before.reachable != reachable);
        all.insert(peer.clone(), Seen { reachable, at: Instant::now(), streak, detail, told });
        drop(all);
        if flipped {
            tracing::info!(peer = %peer.node, region = %peer.region, reachable, "peer flipped");
            self.flipped.notify_one();
        }
    }

    /// Returns after a peer has flipped.
    pub(crate) async fn flipped(&self) {
        self.flipped.notified().await;
    }

    /// For the agreement of the nodes: what was seen here, and what others said they saw.
    pub(crate) fn evidence(&self) -> (Vec<Probe>, Vec<Told>) {
        let all = self.seen();
        let probe = |(peer, seen): (&Peer, &Seen)| {
            let (region, age) = (peer.region.clone(), seen.at.elapsed());
            Probe { region, reachable: seen.reachable, streak: seen.streak, age }
        };
        let told = all.values().flat_map(|seen| {
            let aged = |told: &Told| Told { age: told.age + seen.at.elapsed(), ..told.clone() };
            seen.told.iter().map(aged).collect::<Vec<_>>()
        });
        (all.iter().map(probe).collect(), told.collect())
    }

    /// For the report.
    pub(crate) fn observations(&self) -> Vec<v1::Observation> {
        let observation = |(peer, seen): (&Peer, &Seen)| v1::Observation {
            node: peer.node.to_string(),
            region: peer.region.to_string(),
            reachable: seen.reachable,
            age_ms: u32::try_from(seen.at.elapsed().as_millis()).unwrap_or(u32::MAX),
            streak: seen.streak,
            detail: seen.detail.clone(),
        };
        self.seen().iter().map(observation).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(name: &str) -> Peer {
        Peer { node: name.parse().unwrap(), region: "eu-west".parse().unwrap(), address: format!("{name}:80") }
    }

    async fn has_flipped(peers: &Peers) -> bool {
        tokio::time::timeout(Duration::from_millis(1), peers.flipped()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn streaks_count_and_a_flip_is_news() {
        let peers = Peers::new();
        let a = peer("a");
        peers.replace(Arc::from([a.clone()]));
        for (ok, streak, news) in
            [(true, 1, false), (true, 2, false), (false, 1, true), (false, 2, false), (true, 1, true)]
        {
            peers.record(&a, if ok { Ok(None) } else { Err("silent".to_owned()) });
            let seen = peers.observations().remove(0);
            assert_eq!((seen.reachable, seen.streak, has_flipped(&peers).await), (ok, streak, news));
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!((2000..2100).contains(&peers.observations()[0].age_ms));
        peers.replace(Arc::from([peer("b")]));
        assert!(peers.observations().is_empty());
    }
}
