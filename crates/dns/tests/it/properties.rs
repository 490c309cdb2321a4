//! What holds for every packet, every client and every plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use meridian_dns::{GeoDatabase, Snapshot, Transport, answer};
use meridian_types::zone::{AllDown, ClientPlace};
use meridian_types::{Jurisdiction, Plan, RegionState};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{
    AP, CALIFORNIA, EU, NOWHERE, PARIS, Query, SINGAPORE, US, addresses, answered, inputs, plan, raw_option, region,
    snapshot, zone,
};

const NAMES: [&str; 12] =
    ["api", "split", "primary", "www", "none", "alias", "x.wild", "ent", "x.child", "many", "@", "elsewhere."];

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| snapshot(Some(plan())));

/// Answers of both transports, checked for what every answer has to be.
fn reply(snapshot: &Snapshot, packet: &[u8]) -> Option<Message> {
    let udp = answer(snapshot, packet, NOWHERE, Transport::Udp)?;
    let tcp = answer(snapshot, packet, NOWHERE, Transport::Tcp).expect("both or none");
    assert!(udp.len() <= 1232);
    assert_eq!(udp[..2], packet[..2]);
    let message = Message::from_vec(&tcp).unwrap_or_else(|error| panic!("{error}: {tcp:?}"));
    Message::from_vec(&udp).unwrap_or_else(|error| panic!("{error}: {udp:?}"));
    Some(message)
}

fn state() -> impl Strategy<Value = RegionState> {
    prop_oneof![
        Just(RegionState::Serving),
        Just(RegionState::Drained),
        Just(RegionState::Down),
        Just(RegionState::Empty)
    ]
}

/// Three numbers that add up to 1,000.
fn split() -> impl Strategy<Value = [u32; 3]> {
    (0u32..=1000, 0u32..=1000).prop_map(|(a, b)| [a.min(b), a.abs_diff(b), 1000 - a.max(b)])
}

fn any_plan() -> impl Strategy<Value = Plan> {
    (vec(state(), 3), split(), vec(split(), 3)).prop_map(|(states, weights, placements)| {
        let mut plan = plan();
        for (i, name) in [US, EU, AP].into_iter().enumerate() {
            let region = plan.regions.get_mut(name).unwrap();
            (region.state, region.weight) = (states[i], weights[i]);
            region.placement = [US, EU, AP].into_iter().zip(placements[i]).map(|(n, s)| (self::region(n), s)).collect();
        }
        plan.check().unwrap();
        plan
    })
}

fn all_down() -> impl Strategy<Value = AllDown> {
    let refuge = prop::sample::select(vec![US, EU, AP]).prop_map(|name| AllDown::FailTo(region(name)));
    prop_oneof![Just(AllDown::FailOpen), Just(AllDown::Refuse), refuge]
}

fn any_client() -> impl Strategy<Value = String> {
    prop_oneof![
        (any::<u8>(), any::<u8>()).prop_map(|(b, c)| format!("198.51.{b}.{c}/32")),
        any::<u8>().prop_map(|c| format!("203.0.113.{c}/32")),
        (11u8..100, any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| format!("{a}.{b}.{c}.0/24")),
        any::<u16>().prop_map(|c| format!("2001:db8:65:{c:x}::/64")),
        any::<u16>().prop_map(|c| format!("2a00:{c:x}::/32")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn garbage_never_panics_and_what_is_answered_can_be_read(packet in vec(any::<u8>(), 0..300)) {
        reply(&SNAPSHOT, &packet);
    }

    #[test]
    fn bent_queries_never_panic_and_what_is_answered_can_be_read(
        name in 0..NAMES.len(),
        qtype in prop_oneof![0u16..70, 249u16..=257, any::<u16>()],
        options in vec(any::<u8>(), 0..40),
        bends in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let query = Query::new(NAMES[name], RecordType::from(qtype)).opt(1400, 0, 0x8000, &options);
        let mut packet = query.bytes();
        for (at, byte) in bends {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        if !whole {
            packet.truncate(cut.index(packet.len()));
        }
        reply(&SNAPSHOT, &packet);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_live_name_is_never_answered_empty_or_dead(
        plan in any_plan(),
        gone in vec(prop::sample::select(vec![US, EU, AP]), 0..3),
        client in any_client(),
    ) {
        let gone: BTreeSet<_> = gone.into_iter().map(region).collect();
        let lives = |name: &str| plan.regions[name].state.takes_traffic() && !gone.contains(name);
        let mut inputs = inputs(zone(), Some(plan.clone()));
        inputs.gone = gone.clone();
        let snapshot = Snapshot::compile(inputs, None);
        for (name, candidates) in [("api", &[US, EU, AP][..]), ("split", &[US, EU, AP]), ("primary", &[EU, US])] {
            let message = Query::new(name, RecordType::A).subnet(&client).ask(&snapshot);
            let live: Vec<&str> = candidates.iter().copied().filter(|name| lives(name)).collect();
            if live.is_empty() {
                let expected = if name == "split" { ResponseCode::ServFail } else { ResponseCode::NoError };
                prop_assert_eq!(message.metadata.response_code, expected);
                prop_assert_eq!(message.answers.is_empty(), name == "split");
                continue;
            }
            let allowed: BTreeSet<String> =
                live.iter().flat_map(|name| addresses(name)).map(|address| address.to_string()).collect();
            let found = answered(&message);
            prop_assert!(!found.is_empty());
            prop_assert!(found.iter().all(|address| allowed.contains(address)), "{:?} {:?}", found, live);
            let distinct: BTreeSet<&String> = found.iter().collect();
            prop_assert_eq!(distinct.len(), found.len());
        }
    }

    #[test]
    fn fences_hold_under_every_combination(
        plan in any_plan(),
        areas in vec(prop::sample::select(vec!["EU", "US", "SG"]), 3),
        fence in prop::sample::subsequence(vec!["EU", "US", "SG"], 1..=2),
        all_down in all_down(),
        gone in vec(prop::sample::select(vec![US, EU, AP]), 0..3),
        overrides in vec((any_client(), prop::sample::select(vec![US, EU, AP])), 0..4),
        band_km in prop_oneof![Just(0u32), 0u32..=20_000],
        client in any_client(),
    ) {
        let area = |name: &str| Jurisdiction::new(name).unwrap();
        let mut zone = zone();
        for steered in &mut zone.steered {
            steered.jurisdictions = fence.iter().map(|name| area(name)).collect();
            steered.all_down = all_down.clone();
            steered.band_km = band_km;
        }
        let place = |name: &str| ClientPlace::Region(region(name));
        zone.networks = overrides.iter().map(|(network, name)| (network.parse().unwrap(), place(name))).collect();
        let mut inputs = inputs(zone, Some(plan.clone()));
        let mut configuration = (*inputs.configuration).clone();
        for (name, of) in [US, EU, AP].into_iter().zip(&areas) {
            configuration.regions.get_mut(name).unwrap().jurisdiction = area(of);
        }
        inputs.configuration = Arc::new(configuration);
        inputs.gone = gone.iter().map(|name| region(name)).collect();
        inputs.geo = Some(DATABASE.clone());
        let snapshot = Snapshot::compile(inputs, None);
        let within: Vec<&str> = [US, EU, AP].into_iter().zip(&areas).filter(|(_, of)| fence.contains(of)).map(|(n, _)| n).collect();
        let lives = |name: &&str| plan.regions[*name].state.takes_traffic() && !gone.contains(name);
        for (name, candidates) in [("api", &[US, EU, AP][..]), ("split", &[US, EU, AP]), ("primary", &[EU, US])] {
            for qtype in [RecordType::A, RecordType::AAAA] {
                let found = answered(&Query::new(name, qtype).subnet(&client).ask(&snapshot));
                let inside = |name: &&&str| addresses(name).iter().any(|address| found.contains(&address.to_string()));
                let outside = [US, EU, AP].iter().filter(|name| !within.contains(name)).find(inside);
                prop_assert_eq!(outside, None, "{} {:?}", name, found);
                let live: Vec<&&str> = candidates.iter().filter(|name| within.contains(name)).filter(|n| lives(n)).collect();
                if !live.is_empty() {
                    let dead = candidates.iter().filter(|name| !live.contains(name)).find(inside);
                    prop_assert_eq!(dead, None, "{} {:?}", name, found);
                    prop_assert!(qtype != RecordType::A || !found.is_empty(), "{}", name);
                }
            }
        }
    }

    #[test]
    fn no_client_is_sent_where_the_load_of_its_region_may_not_go(
        plan in any_plan(),
        areas in vec(prop::sample::select(vec!["EU", "US", "SG"]), 3),
        overflows in vec(prop::sample::subsequence(vec!["EU", "US", "SG"], 0..=2), 3),
        all_down in all_down(),
        gone in vec(prop::sample::select(vec![US, EU, AP]), 0..3),
    ) {
        let area = |name: &str| Jurisdiction::new(name).unwrap();
        let mut zone = zone();
        for steered in &mut zone.steered {
            steered.all_down = all_down.clone();
        }
        let mut inputs = inputs(zone, Some(plan.clone()));
        let mut configuration = (*inputs.configuration).clone();
        for ((name, of), overflow) in [US, EU, AP].into_iter().zip(&areas).zip(&overflows) {
            let region = configuration.regions.get_mut(name).unwrap();
            region.jurisdiction = area(of);
            region.overflow_jurisdictions = overflow.iter().map(|name| area(name)).collect();
        }
        inputs.configuration = Arc::new(configuration);
        inputs.gone = gone.iter().map(|name| region(name)).collect();
        let regions = inputs.configuration.regions.clone();
        let snapshot = Snapshot::compile(inputs, None);
        let lives = |name: &&str| plan.regions[*name].state.takes_traffic() && !gone.contains(name);
        for (origin, client) in [(US, CALIFORNIA), (EU, PARIS), (AP, SINGAPORE)] {
            // The planner's own words for it.
            let may = |to: &&str| {
                let (from, to) = (&regions[origin], &regions[*to]);
                let overflow = &from.overflow_jurisdictions;
                overflow.is_empty() || from.jurisdiction == to.jurisdiction || overflow.contains(&to.jurisdiction)
            };
            for qtype in [RecordType::A, RecordType::AAAA] {
                let message = Query::new("api", qtype).subnet(client).ask(&snapshot);
                let found = answered(&message);
                let named: Vec<&str> = [US, EU, AP]
                    .into_iter()
                    .filter(|name| addresses(name).iter().any(|address| found.contains(&address.to_string())))
                    .collect();
                prop_assert!(named.iter().all(&may), "{} to {:?}", origin, named);
                let living: Vec<&str> = [US, EU, AP].into_iter().filter(|name| may(name) && lives(name)).collect();
                if !living.is_empty() {
                    prop_assert!(named.iter().all(|name| living.contains(name)), "{} to {:?}", origin, named);
                    prop_assert!(qtype != RecordType::A || !found.is_empty(), "{}", origin);
                }
            }
        }
    }

    #[test]
    fn everybody_within_a_scope_gets_the_same_answer(
        plan in any_plan(),
        overrides in vec((any_client(), prop::sample::select(vec![US, EU, AP])), 0..4),
        band_km in prop_oneof![Just(0u32), 0u32..=20_000],
        client in any_client(),
        is_fenced in any::<bool>(),
        hosts in vec(any::<u128>(), 8),
    ) {
        let mut zone = zone();
        zone.steered[0].band_km = band_km;
        let place = |name: &str| ClientPlace::Region(region(name));
        zone.networks.extend(overrides.iter().map(|(network, name)| (network.parse().unwrap(), place(name))));
        let mut inputs = inputs(zone, Some(plan));
        let mut configuration = (*inputs.configuration).clone();
        if is_fenced {
            let eu = configuration.regions.get_mut(EU).unwrap();
            eu.overflow_jurisdictions = vec![Jurisdiction::new("EU").unwrap()];
            eu.jurisdiction = Jurisdiction::new("EU").unwrap();
        }
        inputs.configuration = Arc::new(configuration);
        inputs.geo = Some(DATABASE.clone());
        let snapshot = Snapshot::compile(inputs, None);
        for name in ["api", "split", "primary"] {
            let query = Query::new(name, RecordType::A).subnet(&client);
            let (message, bytes) = (query.ask(&snapshot), answer(&snapshot, &query.bytes(), NOWHERE, Transport::Udp));
            let scope = raw_option(&bytes.unwrap(), 8).unwrap()[3];
            for host in &hosts {
                let other = within(&client, scope, *host);
                let found = Query::new(name, RecordType::A).subnet(&other).ask(&snapshot);
                // Private networks are answered by the resolver's address, so they are not in any scope.
                if routable(&other) {
                    prop_assert_eq!(answered(&message), answered(&found), "{} {} /{} {}", name, client, scope, other);
                }
            }
        }
    }

    #[test]
    fn all_authorities_give_the_same_bytes(
        plan in any_plan(),
        other in any_plan(),
        client in any_client(),
        source in any::<[u8; 4]>().prop_map(IpAddr::from),
    ) {
        let fresh = Snapshot::compile(inputs(zone(), Some(plan.clone())), None);
        // One that held another plan before.
        let old = inputs(zone(), Some(other));
        let mut new = old.clone();
        new.plan = Some(Arc::new(plan));
        let seasoned = Snapshot::compile(new, Some(&Snapshot::compile(old, None)));
        let types = [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::TXT, RecordType::SOA];
        for (name, qtype) in NAMES.iter().flat_map(|name| types.map(|qtype| (name, qtype))) {
            for packet in [Query::new(name, qtype).subnet(&client).bytes(), Query::new(name, qtype).bytes()] {
                for transport in [Transport::Udp, Transport::Tcp] {
                    let say = |snapshot| answer(snapshot, &packet, source, transport);
                    prop_assert_eq!(say(&fresh), say(&seasoned));
                }
            }
        }
    }
}

static DATABASE: LazyLock<Arc<GeoDatabase>> =
    LazyLock::new(|| Arc::new(GeoDatabase::from_bytes(include_bytes!("../data/geo.mmdb").to_vec()).unwrap()));

/// An address within the network of `client` that `scope` spans.
fn within(client: &str, scope: u8, host: u128) -> String {
    let client: ipnet::IpNet = client.parse().unwrap();
    match client.addr() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shr(scope.into()).unwrap_or(0);
            let bits = (address.to_bits() & !mask) | (host as u32 & mask);
            format!("{}/32", std::net::Ipv4Addr::from_bits(bits))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shr(scope.into()).unwrap_or(0);
            let bits = (address.to_bits() & !mask) | (host & mask);
            format!("{}/128", std::net::Ipv6Addr::from_bits(bits))
        }
    }
}

fn routable(client: &str) -> bool {
    match client.parse::<ipnet::IpNet>().unwrap().addr() {
        IpAddr::V4(a) => {
            let [first, second, ..] = a.octets();
            let shared = first == 100 && (64..128).contains(&second);
            !(a.is_private() || a.is_loopback() || a.is_link_local() || first == 0 || first >= 224 || shared)
        }
        IpAddr::V6(a) => a.segments()[0] >> 13 == 1,
    }
}

#[test]
fn a_plan_that_spills_a_regions_clients_is_kept_within_one_percent_and_grows_without_moving_back() {
    let spilled = |to_us: u32, to_ap: u32| {
        let mut plan = plan();
        let home = plan.regions.get_mut(EU).unwrap();
        home.placement = [(EU, 1000 - to_us - to_ap), (US, to_us), (AP, to_ap)].map(|(n, s)| (region(n), s)).into();
        let mut zone = zone();
        zone.networks = vec![("80.0.0.0/8".parse().unwrap(), ClientPlace::Region(region(EU)))];
        let snapshot = Snapshot::compile(inputs(zone, Some(plan)), None);
        firsts_of(&snapshot, "api")
    };
    let (small, large) = (spilled(200, 100), spilled(400, 200));
    for (found, expected) in [(&small, [0.2, 0.7, 0.1]), (&large, [0.4, 0.4, 0.2])] {
        for (address, expected) in ["192.0.2.1", "192.0.2.2", "192.0.2.3"].into_iter().zip(expected) {
            let share = found.iter().filter(|first| *first == address).count() as f64 / f64::from(SUBNETS);
            assert!((share - expected).abs() < 0.01, "{address} {share} {expected}");
        }
    }
    let moved: Vec<_> = small.iter().zip(&large).filter(|(a, b)| a != b).collect();
    assert!(moved.iter().all(|(before, _)| *before == "192.0.2.2"), "only the clients that had not been spilled move");
    let share = moved.len() as f64 / f64::from(SUBNETS);
    assert!((0.294..0.306).contains(&share), "{share} moved, 0.3 had to");
}

const SUBNETS: u32 = 60_000;

/// The region that each of many neighbouring subnets gets first.
fn firsts(weights: [u32; 3]) -> Vec<String> {
    let mut plan = plan();
    for (name, weight) in [US, EU, AP].into_iter().zip(weights) {
        plan.regions.get_mut(name).unwrap().weight = weight;
    }
    firsts_of(&snapshot(Some(plan)), "split")
}

fn firsts_of(snapshot: &Snapshot, name: &str) -> Vec<String> {
    let first = |i: u32| {
        let network = format!("{}/24", std::net::Ipv4Addr::from_bits((80 << 24) + (i << 8)));
        answered(&Query::new(name, RecordType::A).subnet(&network).ask(snapshot)).swap_remove(0)
    };
    (0..SUBNETS).map(first).collect()
}

#[test]
fn weights_are_kept_within_one_percent_and_a_change_moves_only_its_share() {
    let (before, after) = ([500, 300, 200], [400, 360, 240]);
    let (old, new) = (firsts(before), firsts(after));
    for (found, weights) in [(&old, before), (&new, after)] {
        let mut counts = BTreeMap::new();
        found.iter().for_each(|address| *counts.entry(address.as_str()).or_insert(0u32) += 1);
        for (address, weight) in ["192.0.2.1", "192.0.2.2", "192.0.2.3"].into_iter().zip(weights) {
            let share = f64::from(counts[address]) / f64::from(SUBNETS);
            assert!((share - f64::from(weight) / 1000.0).abs() < 0.01, "{address} {share} {weight}");
        }
    }
    let moved = old.iter().zip(&new).filter(|(a, b)| a != b).count() as f64 / f64::from(SUBNETS);
    assert!((0.098..0.102).contains(&moved), "{moved} moved, 0.1 had to");
}
