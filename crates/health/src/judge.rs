//! The verdict about each node, with what it rests on and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_types::{NodeName, RegionName};

use crate::evidence::Control;
use crate::votes::{self, Votes};
use crate::{NodeEvidence, OwnState, RegionVerdict, region};

/// A node that was down must be well for this long: three rounds of reports.
pub const RECOVERY_HOLD: Duration = Duration::from_secs(3);
/// The brake looks back this far.
const BRAKE_WINDOW: Duration = Duration::from_secs(30);
/// Of a region's nodes so many in 100 may go down in the window without outside agreement; one always may.
const BRAKE_PERCENT: usize = 15;

/// Two clocks: one to decide by, one to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, since any fixed moment.
    pub monotonic: Duration,
    /// Milliseconds since 1970.
    pub unix_ms: i64,
}

/// What a node is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeVerdict {
    /// It serves.
    Serving,
    /// It said that it is stopping, or has not started.
    Draining,
    /// We lost it, and nobody else says that it is gone: frozen.
    Unreachable,
    /// Two classes of evidence say that it does not serve.
    Down,
}

/// A verdict and what is needed to change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The verdict.
    pub verdict: NodeVerdict,
    /// Since when.
    pub since_unix_ms: i64,
    /// What it rests on, for people; numbers in it are of the moment at which it was reached.
    pub evidence: String,
    /// While down: since when it looks well again.
    pub well_since: Option<Duration>,
    /// When it went down with nobody outside agreeing.
    pub down_unconfirmed_at: Option<Duration>,
    /// It would be down, but too many went at once for anybody to believe it: a person must look.
    pub braked: bool,
}

impl Held {
    /// A verdict as the store had it: what a replica starts from.
    pub fn stored(verdict: NodeVerdict, since_unix_ms: i64, evidence: String) -> Self {
        Self { verdict, since_unix_ms, evidence, well_since: None, down_unconfirmed_at: None, braked: false }
    }
}

/// Verdicts by node.
pub type Verdicts = BTreeMap<NodeName, Held>;

/// The verdicts that follow from `evidence` and from what was held before. Nodes without evidence have no verdict.
pub fn judge(previous: &Verdicts, evidence: &BTreeMap<NodeName, NodeEvidence>, now: Now) -> Verdicts {
    let votes = votes::count(evidence, &regions_down(previous, evidence));
    let mut verdicts = Verdicts::new();
    for (name, node) in evidence {
        let votes = votes.get(name).cloned().unwrap_or_default();
        let held = conclude(previous.get(name), node, &votes, now);
        verdicts.insert(name.clone(), held);
    }
    brake(previous, evidence, &mut verdicts, now);
    verdicts
}

fn regions_down(previous: &Verdicts, evidence: &BTreeMap<NodeName, NodeEvidence>) -> BTreeSet<RegionName> {
    let mut nodes: BTreeMap<&RegionName, Vec<NodeVerdict>> = BTreeMap::new();
    for (name, node) in evidence.iter().filter(|(_, node)| node.serves) {
        let verdict = previous.get(name).map_or(NodeVerdict::Serving, |held| held.verdict);
        nodes.entry(&node.region).or_default().push(verdict);
    }
    let is_down = |verdicts: &Vec<NodeVerdict>| region(verdicts.iter().copied()) == RegionVerdict::Down;
    nodes.into_iter().filter(|(_, verdicts)| is_down(verdicts)).map(|(region, _)| region.clone()).collect()
}

fn conclude(previous: Option<&Held>, node: &NodeEvidence, votes: &Votes, now: Now) -> Held {
    let was_down = previous.is_some_and(|held| held.verdict == NodeVerdict::Down);
    match node.pulse.control() {
        // A replica that has just started knows nothing better than what the store says.
        Control::Unknown => previous.cloned().unwrap_or_else(|| {
            Held::stored(NodeVerdict::Unreachable, now.unix_ms, "known from the store, not seen yet".to_owned())
        }),
        Control::Alive if was_down => recover(previous, node, votes, now),
        Control::Alive => alive(previous, node, votes, now),
        Control::Lost if was_down => Held { well_since: None, ..keep(previous, NodeVerdict::Down, now, String::new) },
        Control::Lost => lost(previous, node, votes, now),
    }
}

fn alive(previous: Option<&Held>, node: &NodeEvidence, votes: &Votes, now: Now) -> Held {
    let (verdict, evidence) = match node.own {
        Some(OwnState::Draining) => (NodeVerdict::Draining, "says that it is stopping".to_owned()),
        Some(OwnState::Starting) | None => (NodeVerdict::Draining, "has no configuration yet".to_owned()),
        Some(OwnState::Overloaded) => (NodeVerdict::Serving, "pulse is fresh; says that it is overloaded".to_owned()),
        // P and T: two classes. It beats, and serves nobody.
        Some(OwnState::Serving) if is_unreachable(votes) && votes.loses_requests() => {
            let lost = "and loses the requests that are handed over to it";
            return down(previous, votes, now, || format!("pulse is fresh, but {}, {lost}", votes.describe()));
        }
        // One class is not enough to take a node out, but people should see it.
        Some(OwnState::Serving) if is_unreachable(votes) => {
            (NodeVerdict::Serving, format!("pulse is fresh, but {}", votes.describe()))
        }
        Some(OwnState::Serving) => (NodeVerdict::Serving, "pulse is fresh".to_owned()),
    };
    let since = previous.filter(|held| held.verdict == verdict).map_or(now.unix_ms, |held| held.since_unix_ms);
    Held::stored(verdict, since, evidence)
}

fn lost(previous: Option<&Held>, node: &NodeEvidence, votes: &Votes, now: Now) -> Held {
    let pulse = node.pulse.describe();
    if node.own == Some(OwnState::Draining) {
        // S and C: two classes.
        return keep(previous, NodeVerdict::Down, now, || format!("it said that it is stopping; {pulse}"));
    }
    if !is_unreachable(votes) {
        return keep(previous, NodeVerdict::Unreachable, now, || format!("{pulse}; {}; frozen", votes.describe()));
    }
    down(previous, votes, now, || format!("{pulse}; {}", votes.describe()))
}

/// P: whether those who look agree that nobody gets through to it.
fn is_unreachable(votes: &Votes) -> bool {
    votes.outside_agrees() || votes.inside_agrees()
}

fn down(previous: Option<&Held>, votes: &Votes, now: Now, evidence: impl FnOnce() -> String) -> Held {
    let down = keep(previous, NodeVerdict::Down, now, evidence);
    Held { down_unconfirmed_at: (!votes.outside_agrees()).then_some(now.monotonic), ..down }
}

fn recover(previous: Option<&Held>, node: &NodeEvidence, votes: &Votes, now: Now) -> Held {
    let held = keep(previous, NodeVerdict::Down, now, String::new);
    // One that is full serves, and its places are wanted most when so much else is gone.
    let serves = matches!(node.own, Some(OwnState::Serving | OwnState::Overloaded));
    let well = serves && !is_unreachable(votes);
    let well_since = well.then(|| held.well_since.unwrap_or(now.monotonic));
    match well_since {
        Some(since) if now.monotonic.saturating_sub(since) >= RECOVERY_HOLD => alive(previous, node, votes, now),
        _ => Held { well_since, ..held },
    }
}

/// The previous verdict if it is the same: then its time and evidence stay.
fn keep(previous: Option<&Held>, verdict: NodeVerdict, now: Now, evidence: impl FnOnce() -> String) -> Held {
    match previous.filter(|held| held.verdict == verdict && !held.braked) {
        Some(held) => held.clone(),
        None => Held::stored(verdict, now.unix_ms, evidence()),
    }
}

/// Takes back verdicts of nodes that just went down with nobody outside agreeing, if there are too many of them.
fn brake(previous: &Verdicts, evidence: &BTreeMap<NodeName, NodeEvidence>, verdicts: &mut Verdicts, now: Now) {
    let mut nodes: BTreeMap<&RegionName, Vec<&NodeName>> = BTreeMap::new();
    for (name, node) in evidence.iter().filter(|(_, node)| node.serves) {
        nodes.entry(&node.region).or_default().push(name);
    }
    for names in nodes.into_values() {
        let allowed = (names.len() * BRAKE_PERCENT / 100).max(1);
        let recent = |name: &&&NodeName| {
            let at = verdicts.get(**name).and_then(|held| held.down_unconfirmed_at);
            at.is_some_and(|at| now.monotonic.saturating_sub(at) <= BRAKE_WINDOW)
        };
        let unconfirmed: Vec<NodeName> = names.iter().filter(recent).map(|name| (*name).clone()).collect();
        if unconfirmed.len() <= allowed {
            continue;
        }
        let is_new = |name: &&NodeName| previous.get(*name).is_none_or(|held| held.verdict != NodeVerdict::Down);
        for name in unconfirmed.iter().filter(is_new) {
            let text = || {
                let (gone, all) = (unconfirmed.len(), names.len());
                format!("frozen by the brake: {gone} of {all} nodes lost at once and no other region agrees")
            };
            let held = previous.get(name);
            let frozen = match held.filter(|held| held.braked) {
                Some(held) => held.clone(),
                None => {
                    let frozen = held.filter(|held| held.verdict == NodeVerdict::Unreachable);
                    let since = frozen.map_or(now.unix_ms, |held| held.since_unix_ms);
                    Held { braked: true, ..Held::stored(NodeVerdict::Unreachable, since, text()) }
                }
            };
            verdicts.insert(name.clone(), frozen);
        }
    }
}

#[cfg(test)]
mod tests;
