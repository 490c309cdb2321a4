//! Which upstreams are down, and from where: made of the regions' summaries alone, so that every replica tells the same.

use std::collections::{BTreeMap, BTreeSet};

use meridian_health::{Outage, UpstreamVerdict, outage};
use meridian_proto::fleet::v1 as fleet;
use meridian_store::Revision;
use meridian_types::RegionName;

/// Outages that are told: more at once are one thing, and people have heard of it. Each has a few hundred bytes.
const MAX_OUTAGES: usize = 128;

/// The outages, and the revision that last changed them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outages {
    pub(crate) revision: Revision,
    /// Sorted by provider and model.
    pub(crate) list: Vec<fleet::UpstreamOutage>,
}

impl Outages {
    /// What follows from the summaries at `revision`; `None`: what was known before.
    pub(super) fn next(
        &self,
        summaries: &BTreeMap<RegionName, fleet::RegionSummary>,
        revision: Revision,
    ) -> Option<Self> {
        let list = all(summaries);
        (list != self.list).then_some(Self { revision, list })
    }
}

fn all(summaries: &BTreeMap<RegionName, fleet::RegionSummary>) -> Vec<fleet::UpstreamOutage> {
    let mut findings: BTreeMap<(&str, &str), BTreeMap<&RegionName, &fleet::UpstreamFinding>> = BTreeMap::new();
    for (region, summary) in summaries {
        for target in &summary.targets {
            if let Some(finding) = &target.finding {
                findings.entry((&target.provider, &target.model)).or_default().insert(region, finding);
            }
        }
    }
    findings.iter().filter_map(|(target, regions)| one(*target, regions)).take(MAX_OUTAGES).collect()
}

fn one(
    (provider, model): (&str, &str),
    findings: &BTreeMap<&RegionName, &fleet::UpstreamFinding>,
) -> Option<fleet::UpstreamOutage> {
    let verdict = |down| if down { UpstreamVerdict::Down } else { UpstreamVerdict::Up };
    let found = outage(findings.iter().map(|(region, finding)| ((*region).clone(), verdict(finding.down))));
    let (everywhere, down, head) = match found {
        Outage::None => return None,
        Outage::Everywhere(down) => (true, down, "down everywhere".to_owned()),
        Outage::Here { down, up } if up.is_empty() => {
            let head = format!("down from {}, and no other region has asked it of late", names(&down));
            (false, down, head)
        }
        Outage::Here { down, up } => {
            let head = format!("down only from {}, up from {}", names(&down), names(&up));
            (false, down, head)
        }
    };
    let told = || findings.iter().filter(|(region, _)| down.contains(**region));
    Some(fleet::UpstreamOutage {
        provider: provider.to_owned(),
        model: model.to_owned(),
        everywhere,
        since_unix_ms: told().map(|(_, finding)| finding.since_unix_ms).max().unwrap_or_default(),
        text: format!("{head}: {}", why(told())),
        regions: down.iter().map(ToString::to_string).collect(),
    })
}

/// What the regions say; where all say the same, once.
fn why<'a>(told: impl Iterator<Item = (&'a &'a RegionName, &'a &'a fleet::UpstreamFinding)>) -> String {
    let told: Vec<_> = told.map(|(region, finding)| (*region, finding.evidence.as_str())).collect();
    /// One sentence a region is too much for a world of them.
    const SENTENCES: usize = 3;
    match told.first() {
        Some((_, first)) if told.iter().all(|(_, evidence)| evidence == first) => (*first).to_owned(),
        _ => {
            let sentences: Vec<_> =
                told.iter().take(SENTENCES).map(|(region, why)| format!("{region}: {why}")).collect();
            let more = if told.len() > SENTENCES { "; ..." } else { "" };
            format!("{}{more}", sentences.join("; "))
        }
    }
}

fn names(regions: &BTreeSet<RegionName>) -> String {
    regions.iter().map(RegionName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(region: &str, target: &str, finding: Option<(bool, i64, &str)>) -> fleet::RegionSummary {
        let finding = finding.map(|(down, since_unix_ms, evidence)| fleet::UpstreamFinding {
            down,
            since_unix_ms,
            evidence: evidence.to_owned(),
        });
        let target = fleet::TargetSummary {
            provider: "openai".to_owned(),
            model: target.to_owned(),
            finding,
            ..fleet::TargetSummary::default()
        };
        fleet::RegionSummary { region: region.to_owned(), targets: vec![target], ..fleet::RegionSummary::default() }
    }

    #[test]
    fn an_outage_says_from_where_since_when_and_why() {
        const DEAD: &str = "failed repeatedly";
        let (up, down) = (Some((false, 1, "it serves 1 of 1 nodes")), |since, why| Some((true, since, why)));
        for (findings, everywhere, since, text) in [
            ([up, down(7, DEAD), None], false, 7, "down only from eu, up from ap: failed repeatedly"),
            (
                [None, down(7, DEAD), None],
                false,
                7,
                "down from eu, and no other region has asked it of late: failed repeatedly",
            ),
            ([down(9, DEAD), down(7, DEAD), None], true, 9, "down everywhere: failed repeatedly"),
            (
                [down(3, DEAD), down(2, "no credential"), down(4, DEAD)],
                true,
                4,
                "down everywhere: ap: failed repeatedly; eu: no credential; us: failed repeatedly",
            ),
        ] {
            let named = ["ap", "eu", "us"].into_iter().zip(findings);
            let summaries = named.map(|(name, finding)| (name.parse().unwrap(), summary(name, "gpt", finding)));
            let list = all(&summaries.collect());
            let [outage] = &*list else { panic!("{list:?}") };
            assert_eq!((outage.everywhere, outage.since_unix_ms, outage.text.as_str()), (everywhere, since, text));
        }
    }

    #[test]
    fn another_list_has_another_revision_and_the_same_one_its_own() {
        let summaries = |finding| BTreeMap::from([("eu".parse().unwrap(), summary("eu", "gpt", finding))]);
        let nothing = Outages::default();
        assert!(nothing.next(&summaries(Some((false, 1, ""))), Revision(5)).is_none());
        let down = nothing.next(&summaries(Some((true, 1, "dead"))), Revision(6)).unwrap();
        assert_eq!((down.revision, down.list.len()), (Revision(6), 1));
        assert!(down.next(&summaries(Some((true, 1, "dead"))), Revision(7)).is_none());
        assert_eq!(down.next(&summaries(None), Revision(8)).unwrap().list, []);
    }
}
