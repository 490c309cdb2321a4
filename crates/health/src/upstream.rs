//! Whether an upstream is down, and from where. Each node finds that for itself; here the nodes of a region are put
//! together, and then the regions.
//!
//! A node's finding is not its breaker's state: half-open it still finds it down, and without an attempt it finds nothing.
//! A region turns down at once, because several attempts have failed before any node says so, and comes back a while later,
//! because a verdict that flaps is worth nothing to those who act on it elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use meridian_types::RegionName;

use crate::{Now, RECOVERY_HOLD};

/// After this time without a word a region is no longer taken for one that finds it down: its nodes may only be starting
/// again.
const DOWN_LIFE: Duration = Duration::from_secs(10);
/// After this time without a word a region is no longer taken for one that it serves. Longer, because it decides whether
/// the upstream is down everywhere: a region of few clients asks it only now and then.
const UP_LIFE: Duration = Duration::from_secs(60);

/// What an upstream is taken for, as seen from one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpstreamVerdict {
    /// It serves.
    Up,
    /// It does not.
    Down,
    /// Nobody there has asked it of late, or nobody there is in touch with us.
    Unknown,
}

/// What the nodes of one region find now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Nodes that it serves.
    pub up: usize,
    /// Nodes that it does not serve.
    pub down: usize,
    /// Why, as the first of these says.
    pub why: String,
}

impl Findings {
    /// As most of those say that have asked it.
    fn verdict(&self) -> UpstreamVerdict {
        match (self.up, self.down) {
            (0, 0) => UpstreamVerdict::Unknown,
            (up, down) if down > up => UpstreamVerdict::Down,
            _ => UpstreamVerdict::Up,
        }
    }

    /// For people.
    fn describe(&self) -> String {
        let all = self.up + self.down;
        match self.verdict() {
            UpstreamVerdict::Unknown => "no node has asked it of late".to_owned(),
            UpstreamVerdict::Down if all == 1 => self.why.clone(),
            UpstreamVerdict::Down => format!("{} ({} of {all} nodes)", self.why, self.down),
            UpstreamVerdict::Up => format!("it serves {} of {all} nodes", self.up),
        }
    }
}

/// A region's verdict and what is needed to change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldUpstream {
    /// The verdict.
    pub verdict: UpstreamVerdict,
    /// Since when.
    pub since_unix_ms: i64,
    /// What it rests on, for people; as it was when it was reached.
    pub evidence: String,
    /// Another verdict that the findings lead to, and since when without a break.
    leaning: Option<(UpstreamVerdict, Duration)>,
}

impl HeldUpstream {
    /// A verdict as the store had it: what a replica starts from.
    pub fn stored(verdict: UpstreamVerdict, since_unix_ms: i64, evidence: String) -> Self {
        Self { verdict, since_unix_ms, evidence, leaning: None }
    }
}

/// The verdict of one region about one upstream, from what was held before and what its nodes find now.
pub fn upstream(previous: Option<&HeldUpstream>, findings: &Findings, now: Now) -> HeldUpstream {
    let found = findings.verdict();
    let turn = || HeldUpstream::stored(found, now.unix_ms, findings.describe());
    let Some(held) = previous else { return turn() };
    if found == held.verdict {
        return HeldUpstream { leaning: None, ..held.clone() };
    }
    let since = held.leaning.filter(|(leaning, _)| *leaning == found).map_or(now.monotonic, |(_, since)| since);
    if now.monotonic.saturating_sub(since) >= patience(held.verdict, found) {
        return turn();
    }
    HeldUpstream { leaning: Some((found, since)), ..held.clone() }
}

/// How long the findings must lead elsewhere before the verdict follows.
fn patience(held: UpstreamVerdict, found: UpstreamVerdict) -> Duration {
    match (held, found) {
        (UpstreamVerdict::Down, UpstreamVerdict::Up) => RECOVERY_HOLD,
        (UpstreamVerdict::Down, _) => DOWN_LIFE,
        (UpstreamVerdict::Up, UpstreamVerdict::Unknown) => UP_LIFE,
        _ => Duration::ZERO,
    }
}

/// From where an upstream is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outage {
    /// From nowhere, as far as anybody knows.
    None,
    /// From these regions.
    Here {
        /// Those that find it down; at least one.
        down: BTreeSet<RegionName>,
        /// Those that it serves. None: no other region has asked it.
        up: BTreeSet<RegionName>,
    },
    /// From every region that has asked it; at least two.
    Everywhere(BTreeSet<RegionName>),
}

/// Puts the regions' verdicts together. One region alone cannot say whether it is the upstream or its own way there.
pub fn outage(regions: impl IntoIterator<Item = (RegionName, UpstreamVerdict)>) -> Outage {
    let (mut down, mut up) = (BTreeSet::new(), BTreeSet::new());
    for (region, verdict) in regions {
        match verdict {
            UpstreamVerdict::Down => down.insert(region),
            UpstreamVerdict::Up => up.insert(region),
            UpstreamVerdict::Unknown => continue,
        };
    }
    match (down.len(), up.len()) {
        (0, _) => Outage::None,
        (2.., 0) => Outage::Everywhere(down),
        _ => Outage::Here { down, up },
    }
}

#[cfg(test)]
mod tests;
