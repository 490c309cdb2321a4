//! The members of the cluster and what they agree on. Raft itself is modelled away: a log that all members share, a
//! leader, and for each member whether it hears the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::proto::PbResponseHeader;
use tokio::sync::watch;

use super::data::Data;

/// A vacant seat is filled after this long: measured with three real members, a write pauses for about 1.7 s.
const ELECTION: Duration = Duration::from_millis(1700);
/// etcd's `--election-timeout`: a member that heard no leader for so long knows that it has none.
pub(super) const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Shortest lease that is granted, whatever was asked for: one and a half election timeouts, in whole seconds.
const MIN_TTL: i64 = 2;
/// Leases are numbered from here, so that none is taken for a small number of ours.
const FIRST_LEASE: i64 = 0x7587_0000_0000;

/// A fault of some released version of etcd, to be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A watch from a compacted revision is not cancelled: it goes on after the compaction (fixed in 3.4.31).
    LosesEventsAfterCompaction,
    /// Every message of a watch comes twice (fixed in 3.4.24).
    RepeatsEvents,
    /// After each message of a watch the one before comes again (fixed in 3.4.25).
    GoesBack,
    /// A watch from a future revision delivers what lies before it (fixed in 3.4.38).
    IgnoresFutureRevision,
}

/// A write or a deletion that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// One for everything that one transaction did.
    pub revision: i64,
    /// Of what.
    pub key: String,
    /// `None`: it was deleted.
    pub value: Option<Vec<u8>>,
}

/// Time since any fixed moment, the same for every host that shares the cluster.
type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A cluster of fake etcd members. Clones share it: it is the members' disks and their private network.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    id: u64,
    clock: Clock,
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

/// Everything that members agree on, and how each of them is.
pub(super) struct State {
    pub(super) data: Data,
    pub(super) bugs: BTreeSet<Bug>,
    members: Vec<MemberState>,
    leader: Option<usize>,
    vacant_since: Option<Duration>,
    term: u64,
    deadlines: BTreeMap<i64, Duration>,
    last_lease: i64,
    replies_to_lose: usize,
}

#[derive(Debug, Clone, Default)]
struct MemberState {
    running: bool,
    isolated: bool,
    /// What this member has applied: stands still while it hears nobody.
    applied: i64,
    leaderless_since: Option<Duration>,
}

/// How one member stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It can carry out requests.
    Led,
    /// It cannot, for this long.
    Leaderless(Duration),
}

impl Cluster {
    /// An empty cluster of `size` members, none of which runs yet.
    #[must_use]
    pub fn new(id: u64, size: usize, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let state = State {
            data: Data::default(),
            bugs: BTreeSet::new(),
            members: vec![MemberState::default(); size],
            leader: None,
            vacant_since: None,
            term: 1,
            deadlines: BTreeMap::new(),
            last_lease: FIRST_LEASE,
            replies_to_lose: 0,
        };
        let (moved, _) = watch::channel(());
        Self { inner: Arc::new(Inner { id, clock: Arc::new(clock), state: Mutex::new(state), moved }) }
    }

    /// Switches a bug on.
    pub fn switch_on(&self, bug: Bug) {
        self.with(|state| {
            state.bugs.insert(bug);
        });
    }

    /// Cuts a member off from the others (its clients still reach it), or lets it hear them again.
    pub fn isolate(&self, member: usize, isolated: bool) {
        self.with(|state| {
            if let Some(member) = state.members.get_mut(member) {
                member.isolated = isolated;
            }
        });
    }

    /// The next `count` transactions are carried out, and answered with a timeout.
    pub fn lose_replies(&self, count: usize) {
        self.with(|state| state.replies_to_lose = count);
    }

    /// The member that leads.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.with(|state| state.leader)
    }

    /// Forgets history up to now, as the periodic compaction of a real cluster.
    pub fn compact(&self) {
        self.with(|state| {
            // Refused when nothing has changed since the last time.
            let _ = state.data.compact(state.data.revision);
        });
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.with(|state| state.data.revision)
    }

    /// What a key holds now, whoever could read it.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.with(|state| state.data.get(key.as_bytes()).map(|kv| kv.value.clone()))
    }

    /// Every write and deletion under `prefix` after revision `after`, in order.
    #[must_use]
    pub fn written(&self, prefix: &str, after: i64) -> Vec<Written> {
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let events = self.with(|state| state.data.events(after + 1, state.data.revision, prefix.as_bytes(), &end));
        let written = events.into_iter().filter_map(|event| Some((event.r#type, event.kv?)));
        let written = written.map(|(kind, kv)| Written {
            revision: kv.mod_revision,
            key: String::from_utf8_lossy(&kv.key).into_owned(),
            value: (kind == 0).then_some(kv.value),
        });
        written.collect()
    }

    pub(super) fn set_running(&self, member: usize, running: bool) {
        self.with(|state| {
            if let Some(member) = state.members.get_mut(member) {
                member.running = running;
            }
        });
    }

    /// News of any kind: something was written, a member lost or found its leader, a lease ended.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.inner.moved.subscribe()
    }

    /// Lets time pass: elections, leases. Who runs a member calls it now and then.
    pub(super) fn tick(&self) {
        self.with(|_| ());
    }

    /// Looks at the state as it is now, or changes it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.mark();
        let now = (self.inner.clock)();
        state.advance(now);
        let result = work(&mut state);
        state.advance(now);
        if state.mark() != before {
            self.inner.moved.send_replace(());
        }
        result
    }

    pub(super) fn standing(&self, member: usize) -> Standing {
        let now = (self.inner.clock)();
        self.with(|state| match state.members.get(member).and_then(|member| member.leaderless_since) {
            None => Standing::Led,
            Some(since) => Standing::Leaderless(now.saturating_sub(since)),
        })
    }

    pub(super) fn header(&self, member: usize) -> PbResponseHeader {
        self.with(|state| PbResponseHeader {
            cluster_id: self.inner.id,
            member_id: member as u64 + 1,
            revision: state.applied(member),
            raft_term: state.term,
        })
    }

    /// Grants a lease; its number and its time.
    pub(super) fn grant(&self, ttl: i64) -> (i64, i64) {
        let now = (self.inner.clock)();
        self.with(|state| {
            state.last_lease += 1;
            let (id, ttl) = (state.last_lease, ttl.max(MIN_TTL));
            state.data.grant(id, ttl);
            state.deadlines.insert(id, now + seconds(ttl));
            (id, ttl)
        })
    }

    /// Renews a lease; its time, 0 when it is gone.
    pub(super) fn renew(&self, id: i64) -> i64 {
        let now = (self.inner.clock)();
        self.with(|state| {
            let Some(ttl) = state.data.leases.get(&id).map(|lease| lease.ttl) else { return 0 };
            state.deadlines.insert(id, now + seconds(ttl));
            ttl
        })
    }
}

impl State {
    pub(super) fn applied(&self, member: usize) -> i64 {
        self.members.get(member).map_or(0, |member| member.applied)
    }

    /// Whether the answer to the transaction just carried out gets lost.
    pub(super) fn loses_reply(&mut self) -> bool {
        let loses = self.replies_to_lose > 0;
        self.replies_to_lose = self.replies_to_lose.saturating_sub(1);
        loses
    }

    /// What watchers care about.
    fn mark(&self) -> (i64, i64, u64, Option<usize>) {
        (self.data.revision, self.data.compacted, self.term, self.leader)
    }

    fn advance(&mut self, now: Duration) {
        let hears: Vec<bool> = self.members.iter().map(|member| member.running && !member.isolated).collect();
        let has_quorum = hears.iter().filter(|hears| **hears).count() > self.members.len() / 2;
        if self.leader.is_some_and(|leader| !has_quorum || !hears.get(leader).is_some_and(|hears| *hears)) {
            self.leader = None;
            self.vacant_since = Some(now);
        }
        let is_over = self.vacant_since.is_none_or(|since| now.saturating_sub(since) >= ELECTION);
        if self.leader.is_none() && has_quorum && is_over {
            self.leader = hears.iter().position(|hears| *hears);
            self.term += 1;
            // A new leader cannot know when leases were last renewed: all begin anew (etcd issue 9395).
            for (id, lease) in &self.data.leases {
                self.deadlines.insert(*id, now + seconds(lease.ttl));
            }
        }
        if self.leader.is_some() {
            let due: Vec<i64> = self.deadlines.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
            for id in due {
                self.deadlines.remove(&id);
                // Revoked by its holder before: nothing is left to end.
                let _ = self.data.revoke(id);
            }
        }
        for (member, hears) in self.members.iter_mut().zip(hears) {
            if hears && self.leader.is_some() {
                member.applied = self.data.revision;
                member.leaderless_since = None;
            } else {
                member.leaderless_since.get_or_insert(now);
            }
        }
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or_default())
}
