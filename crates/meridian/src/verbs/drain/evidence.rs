//! What one look at the fleet says about a drain: who still names the region, for how long caches may, who still has
//! requests.

use std::collections::BTreeMap;

use meridian_proto::admin::v1::{Fleet, FleetNode};
use meridian_proto::fleet::v1::NodeVerdict;
use meridian_proto::node::v1::{DnsServed, Role};

use crate::format::age;

/// A node's word that is older says nothing about now: it reports every second, and pulses four times as often.
const STALE_MS: i64 = 3_000;

/// What is known at one moment.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Look {
    /// Every node that answers DNS, or might.
    pub(super) authorities: BTreeMap<String, Standing>,
    /// Requests in flight on every living node of the region; `None`: it does not say.
    pub(super) requests: BTreeMap<String, Option<u32>>,
}

/// What an authority says of its own answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    /// Clients may be told the region's addresses.
    Names {
        /// For which name, the largest share of whose clients.
        name: String,
        permille: u32,
        plan: String,
    },
    /// They are not.
    Clear {
        plan: String,
        /// Since the last answer that named the region.
        for_ms: i64,
        /// Resolvers that keep to the TTL let go of it in so long; negative: they have, for so long.
        cached_ms: i64,
    },
    /// It does not say, and why.
    Unknown(String),
}

impl Look {
    pub(super) fn of(fleet: &Fleet, region: &str) -> Self {
        let authorities = fleet.nodes.iter().filter_map(|node| Some((node.node.clone(), standing(node, region)?)));
        let serves = |node: &&FleetNode| {
            node.region == region && node.role() != Role::Dns && node.verdict() != NodeVerdict::Down
        };
        let requests = fleet.nodes.iter().filter(serves).map(|node| {
            let is_fresh = (0..STALE_MS).contains(&node.last_pulse_age_ms);
            (node.node.clone(), is_fresh.then_some(node.in_flight))
        });
        Self { authorities: authorities.collect(), requests: requests.collect() }
    }

    /// When the last cache that keeps to the TTL lets go, in milliseconds from now, negative if it has; `None` as long as
    /// an authority names the region, or might.
    pub(super) fn cached_ms(&self) -> Option<i64> {
        let cached = self.authorities.values().map(|standing| match standing {
            Standing::Clear { cached_ms, .. } => Some(*cached_ms),
            Standing::Names { .. } | Standing::Unknown(_) => None,
        });
        // Without any authority there is nothing that could be cached.
        cached.collect::<Option<Vec<i64>>>().map(|all| all.into_iter().max().unwrap_or(i64::MIN))
    }

    /// Requests in flight in the region; `None`: not every node says.
    pub(super) fn open(&self) -> Option<u32> {
        self.requests.values().copied().sum()
    }
}

/// `None`: the node answers no DNS.
fn standing(node: &FleetNode, region: &str) -> Option<Standing> {
    let is_down = node.verdict() == NodeVerdict::Down;
    match &node.dns {
        Some(dns) if is_down => Some(last_words(node, dns, region)),
        // Since when it is down may be long ago, and nobody remembers what it answered.
        _ if is_down => None,
        _ if node.last_report_age_ms < 0 => Some(Standing::Unknown("it has not reported".to_owned())),
        _ if node.last_report_age_ms >= STALE_MS => {
            Some(Standing::Unknown(format!("it has not reported for {}", age(node.last_report_age_ms))))
        }
        Some(dns) => Some(said(dns, region, node.last_report_age_ms)),
        None => None,
    }
}

fn said(dns: &DnsServed, region: &str, report_age_ms: i64) -> Standing {
    let plan = format!("{}.{}", dns.plan_epoch, dns.plan_number);
    match dns.regions.iter().find(|of| of.region == region) {
        Some(of) if !of.name.is_empty() => Standing::Names { name: of.name.clone(), permille: of.permille, plan },
        Some(of) => {
            let for_ms = report_age_ms.saturating_add_unsigned(of.unnamed_for_ms);
            Standing::Clear { plan, for_ms, cached_ms: 0_i64.saturating_add_unsigned(of.cached_for_ms) - for_ms }
        }
        None => Standing::Unknown("it does not know the region yet".to_owned()),
    }
}

/// A node that is down gives no answers; its last ones are as old as its last pulse.
fn last_words(node: &FleetNode, dns: &DnsServed, region: &str) -> Standing {
    let (plan, silent_ms) = (format!("{}.{}", dns.plan_epoch, dns.plan_number), node.last_pulse_age_ms.max(0));
    match dns.regions.iter().find(|of| of.region == region) {
        Some(of) if !of.name.is_empty() => {
            let cached_ms = 0_i64.saturating_add_unsigned(of.cached_for_ms) - silent_ms;
            Standing::Clear { plan, for_ms: silent_ms, cached_ms }
        }
        _ => said(dns, region, node.last_report_age_ms.max(0)),
    }
}

#[cfg(test)]
mod tests {
    use meridian_proto::node::v1::DnsRegion;

    use super::*;

    fn node(name: &str, of: Option<DnsRegion>) -> FleetNode {
        let dns = of.map(|of| DnsServed { plan_epoch: 1, plan_number: 9, regions: vec![of] });
        FleetNode { node: name.into(), region: "eu".into(), last_report_age_ms: 400, dns, ..FleetNode::default() }
    }

    fn named(name: &str) -> Option<DnsRegion> {
        let (region, name) = ("eu".to_owned(), name.to_owned());
        Some(DnsRegion { region, name, permille: 250, unnamed_for_ms: 0, cached_for_ms: 30_000 })
    }

    fn unnamed(for_ms: u64) -> Option<DnsRegion> {
        Some(DnsRegion { unnamed_for_ms: for_ms, permille: 0, ..named("").unwrap() })
    }

    #[test]
    fn an_authority_counts_by_what_it_says_it_answers() {
        let plan = || "1.9".to_owned();
        let names = Some(Standing::Names { name: "api.test".into(), permille: 250, plan: plan() });
        let clear = |for_ms, cached_ms| Some(Standing::Clear { plan: plan(), for_ms, cached_ms });
        let unknown = |why: &str| Some(Standing::Unknown(why.into()));
        let check = |what: &str, node: FleetNode, expected: Option<Standing>| {
            let look = Look::of(&Fleet { nodes: vec![node], ..Fleet::default() }, "eu");
            assert_eq!(look.authorities.get("n"), expected.as_ref(), "{what}");
        };
        check("names it", node("n", named("api.test")), names);
        check("stopped", node("n", unnamed(2_000)), clear(2_400, 27_600));
        check("stopped long ago", node("n", unnamed(60_000)), clear(60_400, -30_400));
        check("answers no DNS", node("n", None), None);
        let mute = FleetNode { last_report_age_ms: -1, ..node("n", None) };
        check("not heard by this replica", mute.clone(), unknown("it has not reported"));
        let old = FleetNode { last_report_age_ms: 5_000, ..node("n", unnamed(2_000)) };
        check("silent", old.clone(), unknown("it has not reported for 5.0s"));
        let down = |node| FleetNode { verdict: NodeVerdict::Down.into(), last_pulse_age_ms: 4_500, ..node };
        check("down while it named it", down(node("n", named("api.test"))), clear(4_500, 25_500));
        check("down after it had stopped", down(old), clear(7_000, 23_000));
        check("down, and nothing is known", down(mute), None);
        let other = DnsRegion { region: "us".into(), ..named("api.test").unwrap() };
        check("has another configuration", node("n", Some(other)), unknown("it does not know the region yet"));
    }

    #[test]
    fn caches_and_requests_count_for_all_nodes_together() {
        let pulsing = |node: FleetNode, in_flight| FleetNode { in_flight, last_pulse_age_ms: 100, ..node };
        let look = |nodes: &[FleetNode]| Look::of(&Fleet { nodes: nodes.to_vec(), ..Fleet::default() }, "eu");
        let clear = pulsing(node("a", unnamed(2_000)), 2);
        let later = pulsing(node("b", unnamed(1_000)), 3);
        assert_eq!(look(&[clear.clone(), later.clone()]).cached_ms(), Some(28_600));
        assert_eq!(look(&[clear.clone(), later.clone()]).open(), Some(5));
        assert_eq!(look(&[clear.clone(), node("c", named("api.test"))]).cached_ms(), None);
        let silent = FleetNode { last_pulse_age_ms: 9_000, ..node("d", unnamed(1)) };
        assert_eq!(look(&[clear.clone(), silent.clone()]).open(), None);
        let down = FleetNode { verdict: NodeVerdict::Down.into(), ..silent };
        assert_eq!(look(&[clear.clone(), down]).open(), Some(2));
        let elsewhere = FleetNode { region: "us".into(), ..later };
        assert_eq!(look(&[clear, elsewhere]).open(), Some(2));
        assert_eq!((look(&[]).cached_ms(), look(&[]).open()), (Some(i64::MIN), Some(0)));
    }
}
