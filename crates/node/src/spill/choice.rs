//! Which other nodes to ask, and in which order: pure.
//!
//! Who takes traffic by the plan and answers our probes, where the caller's data may go: regions that are not known to find
//! the model's upstreams down first, of these regions with room first, the nearest of them first, its nodes in random order.

use std::collections::{BTreeMap, BTreeSet};

use meridian_control_client::Peer;
use meridian_routing::Constraints;
use meridian_types::{Plan, Region, RegionName};

/// A region that is planned to be fuller than this has no spare capacity: as far as the planner fills regions.
const FULL: f64 = 0.85;

/// What is known when a request is to be handed over.
pub(crate) struct View<'a> {
    /// Where this node is.
    pub(crate) own: &'a RegionName,
    pub(crate) regions: &'a BTreeMap<RegionName, Region>,
    /// `None`: there is none yet, so that nobody is known to be full or drained.
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) constraints: &'a Constraints,
    /// From where every target of the model is known to be down.
    pub(crate) down: &'a BTreeSet<RegionName>,
    /// Nodes of the own region are asked too: it is not the region that fails, this node is full.
    pub(crate) neighbours: bool,
}

/// The order, and which regions were left out because the caller's data must not go there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) peers: Vec<Peer>,
    pub(crate) forbidden: BTreeSet<RegionName>,
}

impl View<'_> {
    /// Orders those of `peers` that may be asked. `is_well`: its own listener and our probes of it say so.
    pub(crate) fn order(
        &self,
        peers: &[Peer],
        is_well: &dyn Fn(&Peer) -> bool,
        random: &mut dyn FnMut() -> f64,
    ) -> Choice {
        let mut forbidden = BTreeSet::new();
        let mut ranked = Vec::new();
        for peer in peers {
            let Some(region) = self.regions.get(&peer.region) else { continue };
            if (peer.region == *self.own && !self.neighbours) || !self.takes_traffic(&peer.region) {
                continue;
            }
            if !self.constraints.allows_jurisdiction(&region.jurisdiction) {
                forbidden.insert(peer.region.clone());
            } else if is_well(peer) {
                let hope = (self.down.contains(&peer.region), self.is_full(&peer.region));
                ranked.push((hope, self.distance_km(region), &peer.region, random(), peer));
            }
        }
        ranked.sort_by(|(a_hope, a_km, a_region, a_lot, _), (b_hope, b_km, b_region, b_lot, _)| {
            let by_place = a_hope.cmp(b_hope).then(a_km.total_cmp(b_km)).then(a_region.cmp(b_region));
            by_place.then(a_lot.total_cmp(b_lot))
        });
        Choice { peers: ranked.into_iter().map(|(.., peer)| peer.clone()).collect(), forbidden }
    }

    fn takes_traffic(&self, region: &RegionName) -> bool {
        let planned = self.plan.and_then(|plan| plan.regions.get(region));
        planned.is_none_or(|planned| planned.state.takes_traffic())
    }

    fn is_full(&self, region: &RegionName) -> bool {
        let planned = self.plan.and_then(|plan| plan.regions.get(region));
        planned.is_some_and(|planned| planned.demand > FULL * f64::from(planned.capacity))
    }

    fn distance_km(&self, to: &Region) -> f64 {
        self.regions.get(self.own).map_or(0.0, |own| own.coordinates.distance_km(to.coordinates))
    }
}

#[cfg(test)]
mod tests {
    use meridian_types::region::Coordinates;
    use meridian_types::{CommitId, PlanId, RegionPlan, RegionState};

    use super::*;

    const PLACES: [(&str, f64, f64, &str); 4] =
        [("us", 45.0, -121.0, "US"), ("ca", 45.0, -73.0, "CA"), ("eu", 53.0, -6.0, "EU"), ("ap", 1.0, 103.0, "SG")];

    fn regions() -> BTreeMap<RegionName, Region> {
        let region = |(name, latitude, longitude, jurisdiction): (&str, f64, f64, &str)| {
            let name: RegionName = name.parse().unwrap();
            let region = Region {
                name: name.clone(),
                coordinates: Coordinates { latitude, longitude },
                jurisdiction: jurisdiction.parse().unwrap(),
                weight: 100,
                addresses: Vec::new(),
                overflow_jurisdictions: Vec::new(),
            };
            (name, region)
        };
        PLACES.map(region).into()
    }

    fn plan(regions: &[(&str, RegionState, f64)]) -> Plan {
        let planned = |(name, state, demand): &(&str, RegionState, f64)| {
            let planned = RegionPlan {
                state: *state,
                weight: 0,
                target_weight: 0,
                reason: String::new(),
                addresses: Vec::new(),
                placement: BTreeMap::new(),
                capacity: 100,
                demand: *demand,
                settled: None,
            };
            (name.parse().unwrap(), planned)
        };
        Plan {
            id: PlanId { epoch: 1, number: 1 },
            commit: CommitId(1),
            made_at_unix_ms: 0,
            made_by: String::new(),
            reason: String::new(),
            regions: regions.iter().map(planned).collect(),
            contingencies: BTreeMap::new(),
        }
    }

    fn constraints(places: &[&str]) -> Constraints {
        let tenant = meridian_types::Tenant {
            name: "t".parse().unwrap(),
            allowed_jurisdictions: places.iter().map(|place| place.parse().unwrap()).collect(),
            allowed_models: Vec::new(),
            class: meridian_types::Class::Default,
        };
        Constraints::of(&tenant)
    }

    /// The order of the nodes `<region>-1` as seen from `us`, whose neighbour is `us-2`.
    #[track_caller]
    fn check(plan: Option<&Plan>, allowed: &[&str], dead: &[&str], neighbours: bool, expected: &[&str]) {
        check_down(plan, allowed, dead, neighbours, &[], expected);
    }

    /// The same while the model's upstreams are known to be down from some regions.
    #[track_caller]
    fn check_down(
        plan: Option<&Plan>,
        allowed: &[&str],
        dead: &[&str],
        neighbours: bool,
        down: &[&str],
        expected: &[&str],
    ) {
        let regions = regions();
        let peer = |name: &str, region: &str| Peer {
            node: name.parse().unwrap(),
            region: region.parse().unwrap(),
            address: String::new(),
            peer_address: Some(String::new()),
        };
        let peers =
            [peer("ap-1", "ap"), peer("eu-1", "eu"), peer("ca-1", "ca"), peer("us-2", "us"), peer("xx-1", "xx")];
        let own = "us".parse().unwrap();
        let constraints = constraints(allowed);
        let down = down.iter().map(|name| name.parse().unwrap()).collect();
        let view = View { own: &own, regions: &regions, plan, constraints: &constraints, down: &down, neighbours };
        let choice = view.order(&peers, &|peer| !dead.contains(&peer.node.as_str()), &mut || 0.5);
        let names: Vec<&str> = choice.peers.iter().map(|peer| peer.node.as_str()).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn the_nearest_region_that_serves_has_room_and_may_see_the_data_goes_first() {
        use RegionState::{Down, Drained, Serving};
        check(None, &[], &[], false, &["ca-1", "eu-1", "ap-1"]);
        check(None, &[], &[], true, &["us-2", "ca-1", "eu-1", "ap-1"]);
        check(None, &[], &["ca-1"], false, &["eu-1", "ap-1"]);
        check(None, &["EU", "SG"], &[], false, &["eu-1", "ap-1"]);
        check(None, &["US"], &[], false, &[]);
        let full = plan(&[("ca", Serving, 90.0), ("eu", Serving, 80.0), ("ap", Serving, 0.0)]);
        check(Some(&full), &[], &[], false, &["eu-1", "ap-1", "ca-1"]);
        let gone = plan(&[("ca", Down, 0.0), ("eu", Drained, 0.0), ("ap", Serving, 100.0)]);
        check(Some(&gone), &[], &[], false, &["ap-1"]);
    }

    #[test]
    fn where_the_upstreams_are_known_to_be_down_is_asked_last() {
        use RegionState::Serving;
        check_down(None, &[], &[], false, &["ca"], &["eu-1", "ap-1", "ca-1"]);
        check_down(None, &[], &[], false, &["ca", "eu"], &["ap-1", "ca-1", "eu-1"]);
        check_down(None, &[], &[], true, &["us"], &["ca-1", "eu-1", "ap-1", "us-2"]);
        // A full region sheds some, one that is down serves nobody.
        let full = plan(&[("ca", Serving, 0.0), ("eu", Serving, 90.0), ("ap", Serving, 90.0)]);
        check_down(Some(&full), &[], &[], false, &["ca"], &["eu-1", "ap-1", "ca-1"]);
    }

    #[test]
    fn what_residency_forbids_is_named() {
        let (regions, own, constraints) = (regions(), "us".parse().unwrap(), constraints(&["US"]));
        let peer = |region: &str| Peer {
            node: "n".parse().unwrap(),
            region: region.parse().unwrap(),
            address: String::new(),
            peer_address: None,
        };
        let down = BTreeSet::new();
        let view = View {
            own: &own,
            regions: &regions,
            plan: None,
            constraints: &constraints,
            down: &down,
            neighbours: false,
        };
        let choice = view.order(&[peer("eu"), peer("us"), peer("ap")], &|_| true, &mut || 0.0);
        assert_eq!(choice.forbidden.iter().map(RegionName::as_str).collect::<Vec<_>>(), ["ap", "eu"]);
    }
}
