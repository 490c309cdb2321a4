//! What each region finds of each upstream, put together from its nodes' reports.

use std::collections::BTreeMap;

use meridian_health::{Findings, HeldUpstream, Now, UpstreamVerdict, upstream};
use meridian_proto::fleet::v1 as wire;
use meridian_proto::node::v1::Report;
use meridian_types::RegionName;

/// Provider and model.
pub(super) type Target = (String, String);

/// One region's verdicts.
pub(super) type Held = BTreeMap<Target, HeldUpstream>;

/// The verdicts of all regions.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    held: BTreeMap<RegionName, Held>,
}

impl Upstreams {
    /// What the store holds.
    pub(super) fn resume(stored: &BTreeMap<RegionName, wire::RegionSummary>) -> Self {
        let of = |target: &wire::TargetSummary| {
            let finding = target.finding.as_ref()?;
            let verdict = if finding.down { UpstreamVerdict::Down } else { UpstreamVerdict::Up };
            let held = HeldUpstream::stored(verdict, finding.since_unix_ms, finding.evidence.clone());
            Some(((target.provider.clone(), target.model.clone()), held))
        };
        let region = |(name, summary): (&RegionName, &wire::RegionSummary)| {
            (name.clone(), summary.targets.iter().filter_map(of).collect())
        };
        Self { held: stored.iter().map(region).collect() }
    }

    /// The verdicts of a region after its nodes' last `reports`. What nobody knows anything of is not among them.
    pub(super) fn judge<'a>(
        &mut self,
        region: &RegionName,
        reports: impl Iterator<Item = &'a Report>,
        now: Now,
    ) -> &Held {
        let mut findings: BTreeMap<Target, Findings> = BTreeMap::new();
        for target in reports.flat_map(|report| &report.targets) {
            let Some(finding) = &target.finding else { continue };
            let found = findings.entry((target.provider.clone(), target.model.clone())).or_default();
            if !finding.down {
                found.up += 1;
                continue;
            }
            found.down += 1;
            if found.why.is_empty() {
                found.why.clone_from(&finding.why);
            }
        }
        let held = self.held.entry(region.clone()).or_default();
        for target in held.keys() {
            findings.entry(target.clone()).or_default();
        }
        *held = findings
            .into_iter()
            .map(|(target, found)| {
                let next = upstream(held.get(&target), &found, now);
                (target, next)
            })
            .filter(|(_, next)| next.verdict != UpstreamVerdict::Unknown)
            .collect();
        held
    }

    /// Forgets regions that are no more.
    pub(super) fn retain(&mut self, is_region: impl Fn(&RegionName) -> bool) {
        self.held.retain(|name, _| is_region(name));
    }
}
