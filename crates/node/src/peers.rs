//! What this node's probes saw of the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meridian_control_client::Peer;
use meridian_health::agreement::{Probe, Told};
use meridian_proto::node::v1;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::gossip;

/// For so long after a peer was lost all probes hurry: two more misses by their deadline, and an answer to who asks.
const ALARM: Duration = Duration::from_secs(2);
/// An observation is news for this long: some probes.
const FRESH: Duration = Duration::from_secs(3);
/// What became of a request that was handed over is told for this long; it is evidence for less.
const HANDED: Duration = Duration::from_secs(60);

/// The list of peers, and the newest observation of each.
pub(crate) struct Peers {
    list: watch::Sender<Arc<[Peer]>>,
    seen: Mutex<BTreeMap<Peer, Seen>>,
    /// A peer's state flipped: the next beat should carry the report.
    flipped: Notify,
    /// A peer was lost: probes that rest go on at once.
    alarm: Notify,
    /// Until when probes hurry.
    alarmed_until: Mutex<Instant>,
}

/// The newest observation of one peer.
struct Seen {
    reachable: bool,
    at: Instant,
    streak: u32,
    detail: String,
    /// What it said of the regions when it last answered.
    told: Vec<Told>,
    handed: Option<Handed>,
}

/// The last request that was handed over to a peer.
#[derive(Clone, Copy)]
struct Handed {
    taken: bool,
    at: Instant,
    streak: u32,
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self {
            list: watch::Sender::new(Arc::from([])),
            seen: Mutex::default(),
            flipped: Notify::new(),
            alarm: Notify::new(),
            alarmed_until: Mutex::new(Instant::now()),
        }
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
        let handed = before.and_then(|before| before.handed);
        all.insert(peer.clone(), Seen { reachable, at: Instant::now(), streak, detail, told, handed });
        drop(all);
        if flipped {
            tracing::info!(peer = %peer.node, region = %peer.region, reachable, "peer flipped");
            self.flipped.notify_one();
        }
        if flipped && !reachable {
            self.hurry();
        }
    }

    /// Takes what became of a request that was handed over. That one was lost calls for a look, and is news.
    pub(crate) fn handed_over(&self, peer: &Peer, taken: bool) {
        let mut all = self.seen();
        let Some(seen) = all.get_mut(peer) else { return };
        let same = seen.handed.filter(|before| before.taken == taken);
        let streak = same.map_or(1, |before| before.streak.saturating_add(1));
        seen.handed = Some(Handed { taken, at: Instant::now(), streak });
        drop(all);
        if !taken && same.is_none() {
            self.flipped.notify_one();
            self.hurry();
        }
    }

    /// One of them may be lost: all are looked at soon.
    pub(crate) fn hurry(&self) {
        *self.alarmed_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + ALARM;
        self.alarm.notify_waiters();
    }

    /// The rest between two probes of a peer: `usual`, or `hurried` when a peer, this or another, was lost of late. A
    /// second miss is then found soon, and so is what the living say about it.
    pub(crate) async fn rest(&self, usual: Duration, hurried: Duration) {
        let alarm = self.alarm.notified();
        let alarmed_until = *self.alarmed_until.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() < alarmed_until {
            return tokio::time::sleep(hurried).await;
        }
        tokio::select! {
            () = tokio::time::sleep(usual) => {}
            () = alarm => tokio::time::sleep(hurried).await,
        }
    }

    /// Returns after a peer has flipped.
    pub(crate) async fn flipped(&self) {
        self.flipped.notified().await;
    }

    /// Whether the peer has answered its last probe, just now.
    pub(crate) fn is_well(&self, peer: &Peer) -> bool {
        self.seen().get(peer).is_some_and(|seen| seen.reachable && seen.at.elapsed() < FRESH)
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
        let age_ms = |at: Instant| u32::try_from(at.elapsed().as_millis()).unwrap_or(u32::MAX);
        let handed =
            |handed: Handed| v1::Handed { taken: handed.taken, age_ms: age_ms(handed.at), streak: handed.streak };
        let observation = |(peer, seen): (&Peer, &Seen)| v1::Observation {
            node: peer.node.to_string(),
            region: peer.region.to_string(),
            reachable: seen.reachable,
            age_ms: age_ms(seen.at),
            streak: seen.streak,
            detail: seen.detail.clone(),
            handed: seen.handed.filter(|handed| handed.at.elapsed() < HANDED).map(handed),
        };
        self.seen().iter().map(observation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> Peer {
        let address = format!("{name}:80");
        Peer { node: name.parse().unwrap(), region: "eu-west".parse().unwrap(), address, peer_address: None }
    }

    async fn has_flipped(peers: &Peers) -> bool {
        tokio::time::timeout(Duration::from_millis(1), peers.flipped()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_lost_hurries_the_probes_of_all_for_a_while() {
        let (usual, hurried) = (Duration::from_millis(500), Duration::from_millis(100));
        let peers = Peers::new();
        let (a, b) = (peer("a"), peer("b"));
        for peer in [&a, &b] {
            peers.record(peer, Ok(None));
        }
        let rest = async || {
            let begun = Instant::now();
            peers.rest(usual, hurried).await;
            begun.elapsed()
        };
        assert_eq!(rest().await, usual);
        let lose = async {
            tokio::time::sleep(hurried).await;
            peers.record(&a, Err("silent".to_owned()));
        };
        let (rested, ()) = tokio::join!(rest(), lose);
        assert_eq!(rested, 2 * hurried, "the rest of another peer's probe is cut short");
        assert_eq!(rest().await, hurried);
        peers.record(&a, Err("silent".to_owned()));
        tokio::time::advance(ALARM).await;
        assert_eq!(rest().await, usual, "what is lost for long is nothing to hurry for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_lost_on_its_way_to_a_peer_is_told_at_once_and_calls_for_a_look() {
        let peers = Peers::new();
        let a = peer("a");
        peers.handed_over(&a, false);
        assert!(peers.observations().is_empty(), "nobody probes it");
        peers.record(&a, Ok(None));
        let told = || peers.observations()[0].handed;
        for (taken, streak, news) in
            [(true, 1, false), (false, 1, true), (false, 2, false), (true, 1, false), (false, 1, true)]
        {
            peers.handed_over(&a, taken);
            assert_eq!(told(), Some(v1::Handed { taken, age_ms: 0, streak }));
            assert_eq!(has_flipped(&peers).await, news);
        }
        let begun = Instant::now();
        peers.rest(Duration::from_millis(500), Duration::from_millis(100)).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(100));
        peers.record(&a, Ok(None));
        assert!(told().is_some(), "a probe says nothing of it");
        tokio::time::advance(HANDED).await;
        assert_eq!(told(), None);
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
        assert!(peers.is_well(&a) && !peers.is_well(&peer("b")));
        tokio::time::advance(FRESH).await;
        assert!(!peers.is_well(&a), "nobody has looked for a while");
        peers.replace(Arc::from([peer("b")]));
        assert!(peers.observations().is_empty());
    }
}
