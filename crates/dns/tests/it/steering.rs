//! Which regions are answered: policies, states, contingencies, and what happens when nothing is left.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use meridian_dns::{Snapshot, Transport, answer};
use meridian_types::record::ServiceBinding;
use meridian_types::zone::{AllDown, ClientPlace};
use meridian_types::{Jurisdiction, Plan, RegionState};

use crate::world::{
    AP, CALIFORNIA, EU, PARIS, Query, SINGAPORE, US, answered, inputs, plan, raw_option, region, shares, snapshot,
    with_state, zone,
};

const US_1: &str = "192.0.2.1";
const EU_1: &str = "192.0.2.2";
const AP_1: &str = "192.0.2.3";

fn addresses(snapshot: &Snapshot, name: &str, qtype: RecordType, network: &str) -> Vec<String> {
    answered(&Query::new(name, qtype).subnet(network).ask(snapshot))
}

fn check(plan: Plan, name: &str, network: &str, expected: &[&str]) {
    let snapshot = snapshot(Some(plan));
    assert_eq!(addresses(&snapshot, name, RecordType::A, network), expected, "{name} {network}");
}

#[test]
fn nearest_answers_the_nearest_and_then_the_next_nearest() {
    check(plan(), "api", CALIFORNIA, &[US_1, EU_1]);
    check(plan(), "api", PARIS, &[EU_1, US_1]);
    check(plan(), "api", SINGAPORE, &[AP_1, EU_1]);
    check(plan(), "alias", PARIS, &[EU_1, US_1]);
}

#[test]
fn a_region_that_takes_no_traffic_leaves_the_answers() {
    for state in [RegionState::Down, RegionState::Drained, RegionState::Empty] {
        check(with_state(plan(), EU, state), "api", PARIS, &[US_1, AP_1]);
        check(with_state(plan(), EU, state), "primary", PARIS, &[US_1]);
    }
    let one_left = with_state(with_state(plan(), EU, RegionState::Down), US, RegionState::Drained);
    check(one_left, "api", PARIS, &[AP_1]);
}

#[test]
fn the_plan_moves_the_clients_of_an_origin() {
    let mut moved = plan();
    moved.regions.get_mut(EU).unwrap().placement = shares(&[(AP, 1000)]);
    check(moved.clone(), "api", PARIS, &[AP_1, EU_1]);
    check(moved.clone(), "api", CALIFORNIA, &[US_1, EU_1]);
    // The origin is by geography alone: a dead region's clients still go where the plan places them.
    check(with_state(moved, EU, RegionState::Down), "api", PARIS, &[AP_1, US_1]);
}

#[test]
fn failover_answers_the_first_that_can_serve() {
    check(plan(), "primary", CALIFORNIA, &[EU_1, US_1]);
    check(with_state(plan(), EU, RegionState::Down), "primary", CALIFORNIA, &[US_1]);
}

/// The share of many clients that get each address first.
fn firsts(snapshot: &Snapshot, name: &str) -> std::collections::BTreeMap<String, f64> {
    let mut firsts = std::collections::BTreeMap::new();
    for i in 0..10_000u32 {
        let network = format!("80.{}.{}.0/24", i >> 8, i & 0xFF);
        let first = addresses(snapshot, name, RecordType::A, &network).swap_remove(0);
        *firsts.entry(first).or_default() += 1e-4;
    }
    firsts
}

#[test]
fn failover_lets_a_region_that_comes_back_start_slowly_and_sends_away_what_it_has_no_room_for() {
    for ramped in [0, 100, 500, 1000] {
        let mut plan = plan();
        plan.regions.get_mut(EU).unwrap().placement = shares(&[(EU, ramped), (US, 1000 - ramped)]);
        let found = firsts(&snapshot(Some(plan)), "primary");
        let share = found.get(EU_1).copied().unwrap_or(0.0);
        assert!((share - f64::from(ramped) / 1000.0).abs() < 0.01, "{ramped}: {found:?}");
    }
}

#[test]
fn answers_hold_as_long_as_configured_less_a_tenth_and_shortly_while_a_change_is_under_way() {
    let ttls = |snapshot: &Snapshot, name: &str| -> std::collections::BTreeSet<u32> {
        let ttl = |i: u8| {
            let source = IpAddr::from([80, i, 1, 1]);
            let message = Query::new(name, RecordType::A).ask_from(snapshot, source, Transport::Udp);
            let ttls: Vec<u32> = message.answers.iter().map(|record| record.ttl).collect();
            assert!(ttls.windows(2).all(|pair| pair[0] == pair[1]), "RFC 2181 section 5.2: {ttls:?}");
            ttls[0]
        };
        (0..=255).map(ttl).collect()
    };
    let check = |snapshot: &Snapshot, name: &str, expected: std::ops::RangeInclusive<u32>| {
        assert_eq!(ttls(snapshot, name), expected.collect(), "{name}");
    };
    check(&snapshot(Some(plan())), "api", 27..=30);
    check(&snapshot(Some(plan())), "www", 300..=300);
    let mut ramps = plan();
    (ramps.regions.get_mut(AP).unwrap().target_weight, ramps.regions.get_mut(EU).unwrap().target_weight) = (433, 233);
    check(&snapshot(Some(ramps.clone())), "api", 5..=5);
    // A name that has nothing to do with it goes on; one that has does not.
    ramps.regions.get_mut(EU).unwrap().target_weight = 333;
    check(&snapshot(Some(ramps)), "primary", 27..=30);
    // All are down, so that the next news are good.
    check(&snapshot(None), "api", 5..=5);
    // Agreed on without the planner, whose word is to come.
    let mut gone = inputs(zone(), Some(plan()));
    gone.gone = [region(US)].into();
    check(&Snapshot::compile(gone, None), "primary", 5..=5);
}

#[test]
fn a_fence_holds_also_when_nobody_within_it_can_serve() {
    let fenced = |all_down: AllDown, plan: Plan| {
        let mut zone = zone();
        for steered in &mut zone.steered {
            steered.regions = [US, EU, AP].map(region).into();
            steered.jurisdictions = vec![Jurisdiction::new("EU").unwrap()];
            steered.all_down = all_down.clone();
        }
        let mut inputs = inputs(zone, Some(plan));
        let mut configuration = (*inputs.configuration).clone();
        configuration.regions.get_mut(EU).unwrap().jurisdiction = Jurisdiction::new("EU").unwrap();
        inputs.configuration = std::sync::Arc::new(configuration);
        Snapshot::compile(inputs, None)
    };
    let down = || with_state(plan(), EU, RegionState::Down);
    for name in ["api", "split", "primary"] {
        let check = |all_down: AllDown, plan: Plan, code: ResponseCode, expected: &[&str]| {
            let message = Query::new(name, RecordType::A).subnet(CALIFORNIA).ask(&fenced(all_down.clone(), plan));
            assert_eq!(message.metadata.response_code, code, "{name} {all_down:?}");
            assert_eq!(answered(&message), expected, "{name} {all_down:?}");
        };
        check(AllDown::FailOpen, plan(), ResponseCode::NoError, &[EU_1]);
        check(AllDown::FailOpen, down(), ResponseCode::NoError, &[EU_1]);
        check(AllDown::Refuse, down(), ResponseCode::ServFail, &[]);
        check(AllDown::FailTo(region(EU)), down(), ResponseCode::NoError, &[EU_1]);
        // The check of the configuration does not let that through; if it did, the fence would still hold.
        check(AllDown::FailTo(region(US)), down(), ResponseCode::ServFail, &[]);
    }
}

#[test]
fn the_clients_of_a_region_go_nowhere_where_its_load_may_not() {
    let fenced = |overflow: &str, plan: Plan| {
        let mut inputs = inputs(zone(), Some(plan));
        let mut configuration = (*inputs.configuration).clone();
        for (name, area) in [(US, "US"), (EU, "EU"), (AP, "SG")] {
            configuration.regions.get_mut(name).unwrap().jurisdiction = Jurisdiction::new(area).unwrap();
        }
        let eu = configuration.regions.get_mut(EU).unwrap();
        eu.overflow_jurisdictions = vec![Jurisdiction::new(overflow).unwrap()];
        inputs.configuration = std::sync::Arc::new(configuration);
        Snapshot::compile(inputs, None)
    };
    let down = |names: &[&str]| names.iter().fold(plan(), |plan, name| with_state(plan, name, RegionState::Down));
    // The next nearest after `eu-west` is `us-west`, but its clients may go to Singapore alone.
    for (overflow, plan, network, expected) in [
        ("SG", plan(), PARIS, &[EU_1, AP_1][..]),
        ("SG", down(&[EU]), PARIS, &[AP_1]),
        ("SG", down(&[EU]), CALIFORNIA, &[US_1, AP_1]),
        // Nobody whom they may be sent to lives: the name does what it says of that, though others live.
        ("SG", down(&[EU, AP]), PARIS, &[EU_1, AP_1]),
        ("EU", down(&[EU]), PARIS, &[EU_1]),
        ("EU", down(&[EU]), CALIFORNIA, &[US_1, AP_1]),
    ] {
        assert_eq!(addresses(&fenced(overflow, plan), "api", RecordType::A, network), expected, "{overflow} {network}");
    }
}

#[test]
fn fenced_clients_are_answered_with_the_refuge_also_if_it_is_nobodys_candidate() {
    let mut zone = zone();
    zone.steered[0].regions.pop();
    zone.steered[0].all_down = AllDown::FailTo(region(AP));
    let down = [US, EU].into_iter().fold(plan(), |plan, name| with_state(plan, name, RegionState::Down));
    let mut inputs = inputs(zone, Some(down));
    let mut configuration = (*inputs.configuration).clone();
    for (name, area) in [(US, "US"), (EU, "EU"), (AP, "SG")] {
        configuration.regions.get_mut(name).unwrap().jurisdiction = Jurisdiction::new(area).unwrap();
    }
    configuration.regions.get_mut(EU).unwrap().overflow_jurisdictions = vec![Jurisdiction::new("SG").unwrap()];
    inputs.configuration = std::sync::Arc::new(configuration);
    let snapshot = Snapshot::compile(inputs, None);
    for network in [PARIS, CALIFORNIA, "198.18.7.0/24"] {
        assert_eq!(addresses(&snapshot, "api", RecordType::A, network), [AP_1], "{network}");
    }
}

#[test]
fn weighted_leaves_out_who_has_no_weight() {
    let mut one = plan();
    for (name, weight) in [(US, 0), (EU, 1000), (AP, 0)] {
        one.regions.get_mut(name).unwrap().weight = weight;
    }
    check(one.clone(), "split", PARIS, &[EU_1]);
    // Unless nobody has any.
    let snapshot = snapshot(Some(with_state(one, EU, RegionState::Down)));
    assert_eq!(addresses(&snapshot, "split", RecordType::A, PARIS).len(), 2);
}

#[test]
fn clients_of_whom_nobody_knows_where_they_are_go_by_weight_and_always_to_the_same_place() {
    let mut one = plan();
    for (name, weight) in [(US, 0), (EU, 0), (AP, 1000)] {
        one.regions.get_mut(name).unwrap().weight = weight;
    }
    check(one.clone(), "api", "198.18.7.0/24", &[AP_1]);
    // It is not what others get, though all like them get it.
    let bytes = Query::new("api", RecordType::A).subnet("198.18.7.0/24").bytes();
    let bytes = answer(&snapshot(Some(one)), &bytes, [192, 0, 2, 200].into(), Transport::Udp).unwrap();
    assert_eq!(raw_option(&bytes, 8).unwrap()[3], 24);
    let snapshot = snapshot(Some(plan()));
    let first = addresses(&snapshot, "api", RecordType::A, "198.18.7.0/24");
    for host in ["198.18.7.1/32", "198.18.7.200/32"] {
        assert_eq!(addresses(&snapshot, "api", RecordType::A, host), first);
    }
}

#[test]
fn regions_within_the_band_share_the_clients_by_their_declared_weights() {
    // From Paris it is 780 km to eu-west, 8,970 to us-west and 10,730 to ap-southeast.
    let check = |band_km: u32, weights: [u32; 3], plan: Plan, expected: [f64; 3]| {
        let mut zone = zone();
        zone.steered[0].band_km = band_km;
        let everywhere = ("80.0.0.0/8".parse().unwrap(), ClientPlace::Region(region(EU)));
        zone.networks.push(everywhere);
        let mut inputs = inputs(zone, Some(plan));
        let mut configuration = (*inputs.configuration).clone();
        for (name, weight) in [US, EU, AP].into_iter().zip(weights) {
            configuration.regions.get_mut(name).unwrap().weight = weight;
        }
        inputs.configuration = std::sync::Arc::new(configuration);
        let snapshot = Snapshot::compile(inputs, None);
        let mut firsts = [0.0; 3];
        for i in 0..10_000u32 {
            let network = format!("80.{}.{}.0/24", i >> 8, i & 0xFF);
            let found = addresses(&snapshot, "api", RecordType::A, &network);
            assert_eq!(found.len(), 2);
            let first = [US_1, EU_1, AP_1].iter().position(|address| found[0] == *address).unwrap();
            firsts[first] += 1e-4;
        }
        for (found, expected) in firsts.into_iter().zip(expected) {
            assert!((found - expected).abs() < 0.02, "band {band_km} {weights:?}: {firsts:?}");
        }
    };
    check(0, [100, 100, 100], plan(), [0.0, 1.0, 0.0]);
    check(9_000, [100, 300, 100], plan(), [0.25, 0.75, 0.0]);
    check(20_000, [100, 300, 100], plan(), [0.2, 0.6, 0.2]);
    check(20_000, [0, 0, 0], plan(), [0.0, 1.0, 0.0]);
    // Whose client one is does not change with health; the plan says where the dead region's clients go.
    let mut down = with_state(plan(), US, RegionState::Down);
    down.regions.get_mut(US).unwrap().placement = shares(&[(EU, 500), (AP, 500)]);
    check(9_000, [100, 100, 100], down, [0.0, 0.75, 0.25]);
}

#[test]
fn local_agreement_selects_the_contingency() {
    let mut inputs = inputs(zone(), Some(plan()));
    inputs.gone = [region(EU)].into();
    let gone = Snapshot::compile(inputs.clone(), None);
    // The plan's vector sends Europe to Asia; by distance it would be America.
    assert_eq!(addresses(&gone, "api", RecordType::A, PARIS), [AP_1, US_1]);
    assert_eq!(addresses(&gone, "primary", RecordType::A, PARIS), [US_1]);
    // Two at once: what is left of the plan.
    inputs.gone = [region(EU), region(AP)].into();
    let gone = Snapshot::compile(inputs.clone(), None);
    assert_eq!(addresses(&gone, "api", RecordType::A, PARIS), [US_1]);
    // News that the plan has already is no second loss.
    inputs.plan = Some(std::sync::Arc::new(with_state(plan(), AP, RegionState::Down)));
    let gone = Snapshot::compile(inputs, None);
    assert_eq!(addresses(&gone, "api", RecordType::A, PARIS), [US_1]);
}

#[test]
fn each_family_is_answered_with_its_own_addresses() {
    let up = snapshot(Some(plan()));
    assert_eq!(addresses(&up, "api", RecordType::AAAA, PARIS), ["2001:db8::2", "2001:db8::1"]);
    assert_eq!(addresses(&up, "api", RecordType::AAAA, SINGAPORE), ["2001:db8::2", "2001:db8::1"]);
    // Only Asia lives, and it has no IPv6: an empty answer with SOA sends clients to IPv4 at once.
    let asia = snapshot(Some(with_state(with_state(plan(), EU, RegionState::Down), US, RegionState::Down)));
    let message = Query::new("api", RecordType::AAAA).ask(&asia);
    assert_eq!((message.metadata.response_code, message.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(message.authorities[0].record_type(), RecordType::SOA);
    assert_eq!(addresses(&asia, "api", RecordType::A, PARIS), [AP_1]);
}

#[test]
fn further_addresses_of_a_region_come_after_one_of_each() {
    let mut plan = plan();
    let us = plan.regions.get_mut(US).unwrap();
    us.addresses = (10..13).map(|i| IpAddr::from([192, 0, 2, i])).collect();
    let mut zone = zone();
    zone.steered[0].max_addresses = 5;
    let snapshot = Snapshot::compile(inputs(zone, Some(plan)), None);
    let mut firsts = std::collections::BTreeSet::new();
    for i in 0..64 {
        let network = format!("198.18.{i}.0/24");
        let found = addresses(&snapshot, "split", RecordType::A, &network);
        assert_eq!(found.len(), 2);
        let found = addresses(&snapshot, "api", RecordType::A, CALIFORNIA);
        assert!(found[0].starts_with("192.0.2.1"), "{found:?}");
        assert_eq!(found[1..3], [EU_1, AP_1]);
        assert!(found[3..].iter().all(|address| address.starts_with("192.0.2.1")), "{found:?}");
        firsts.extend(addresses(&snapshot, "split", RecordType::A, &network));
    }
    assert!(firsts.len() == 5, "the nodes of a region share its clients: {firsts:?}");
}

#[test]
fn with_nothing_left_the_name_does_what_it_says() {
    let down = || [US, EU, AP].into_iter().fold(plan(), |plan, name| with_state(plan, name, RegionState::Down));
    // fail_open: as if all were well.
    check(down(), "api", PARIS, &[EU_1, US_1]);
    // but rather with a drained one, which still serves, than with a dead one.
    check(with_state(down(), AP, RegionState::Drained), "api", PARIS, &[AP_1]);
    // fail_to: another region, and nobody is left.
    check(down(), "primary", PARIS, &[AP_1]);
    // refuse: resolvers may serve what they have.
    let message = Query::new("split", RecordType::A).ask(&snapshot(Some(down())));
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    assert!(message.answers.is_empty() && message.authorities.is_empty());
}

#[test]
fn before_the_first_plan_nobody_is_known_to_serve() {
    let none = snapshot(None);
    assert_eq!(addresses(&none, "api", RecordType::A, PARIS), [EU_1, US_1]);
    assert_eq!(addresses(&none, "primary", RecordType::A, PARIS), [AP_1]);
    let message = Query::new("split", RecordType::A).ask(&none);
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn a_name_without_any_address_is_a_failure_and_not_an_empty_answer() {
    let mut nothing = plan();
    for region in nothing.regions.values_mut() {
        region.addresses.clear();
        region.state = RegionState::Empty;
    }
    let mut inputs = inputs(zone(), Some(nothing));
    let mut configuration = (*inputs.configuration).clone();
    for region in configuration.regions.values_mut() {
        region.addresses.clear();
    }
    inputs.configuration = std::sync::Arc::new(configuration);
    let snapshot = Snapshot::compile(inputs, None);
    for name in ["api", "primary", "split"] {
        let message = Query::new(name, RecordType::A).ask(&snapshot);
        assert_eq!(message.metadata.response_code, ResponseCode::ServFail, "{name}");
    }
}

#[test]
fn bindings_have_the_addresses_of_the_same_choice() {
    let bound = |plan: Option<Plan>| {
        let mut zone = zone();
        for steered in &mut zone.steered {
            let parameters: ServiceBinding = "1 . alpn=h2,h3 port=8443".parse().unwrap();
            steered.https = Some(parameters.parameters);
        }
        Snapshot::compile(inputs(zone, plan), None)
    };
    let binding = |snapshot: &Snapshot, name: &str, qtype: RecordType, network: &str| -> Vec<String> {
        let message = Query::new(name, qtype).subnet(network).ask(snapshot);
        message.answers.iter().map(|record| record.data.to_string()).collect()
    };
    let up = bound(Some(plan()));
    for network in [PARIS, CALIFORNIA, SINGAPORE, "198.18.7.0/24"] {
        for name in ["api", "split", "primary"] {
            let [v4, v6] =
                [RecordType::A, RecordType::AAAA].map(|qtype| addresses(&up, name, qtype, network).join(","));
            // The reader ends lists with a comma.
            let expected = format!("1 . alpn=h2,h3, port=8443 ipv4hint={v4}, ipv6hint={v6},");
            for qtype in [RecordType::HTTPS, RecordType::SVCB] {
                assert_eq!(binding(&up, name, qtype, network).join("; "), expected, "{name} {network}");
            }
        }
    }
    // Through an alias, and where only one family is left.
    assert_eq!(binding(&up, "alias", RecordType::HTTPS, PARIS).len(), 2);
    let asia = bound(Some(with_state(with_state(plan(), EU, RegionState::Down), US, RegionState::Down)));
    let found = binding(&asia, "api", RecordType::HTTPS, PARIS);
    assert_eq!(found, [format!("1 . alpn=h2,h3, port=8443 ipv4hint={AP_1},")]);
    // What A is not answered with is no hint either.
    let message = Query::new("split", RecordType::HTTPS).ask(&bound(None));
    assert_eq!((message.metadata.response_code, message.answers.len()), (ResponseCode::ServFail, 0));
    // Who declares no service has none.
    let message = Query::new("api", RecordType::HTTPS).ask(&snapshot(Some(plan())));
    assert_eq!((message.metadata.response_code, message.answers.len()), (ResponseCode::NoError, 0));
}

#[test]
fn the_apex_can_be_steered() {
    let mut zone = zone();
    let apex = crate::world::steered("@", meridian_types::zone::Policy::Nearest, &[US, EU], AllDown::Refuse);
    zone.steered.push(apex);
    let snapshot = Snapshot::compile(inputs(zone, Some(plan())), None);
    assert_eq!(addresses(&snapshot, "@", RecordType::A, PARIS), [EU_1, US_1]);
    assert_eq!(Query::new("@", RecordType::NS).ask(&snapshot).answers.len(), 2);
}
