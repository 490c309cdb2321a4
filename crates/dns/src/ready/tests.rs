//! What is ready and what is thought about are the same bytes.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use meridian_host::WallClock;
use meridian_types::zone::{AllDown, Policy};
use meridian_types::{Jurisdiction, RegionName, RegionState};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::answer::{Arrival, Client, Facts, Manner, ponder, respond};
use crate::cookie::CookieSecrets;
use crate::encode::Transport;
use crate::lineup::Shelf;
use crate::pool::{Pool, Steered};
use crate::request::Request;
use crate::snapshot::{Inputs, Snapshot};
use crate::subnet::Unit;

#[path = "../../examples/support/fleet.rs"]
mod fleet;

const NAMES: [&str; 22] = [
    "api.gslb.example",
    "split.gslb.example",
    "pair.gslb.example",
    "three.gslb.example",
    "one.gslb.example",
    "refuge.gslb.example",
    "primary.gslb.example",
    "band.gslb.example",
    "www.gslb.example",
    "six.gslb.example",
    "ns1.gslb.example",
    "gslb.example",
    "alias.gslb.example",
    "steered-alias.gslb.example",
    "x.wild.gslb.example",
    "*.wild.gslb.example",
    "ent.gslb.example",
    "ns.child.gslb.example",
    "child.gslb.example",
    "long.gslb.example",
    "medium.gslb.example",
    "none.gslb.example",
];
const NOW_UNIX_MS: i64 = 1_800_000_000_000;

struct Stopped;

impl WallClock for Stopped {
    fn now_unix_ms(&self) -> i64 {
        NOW_UNIX_MS
    }
}

static SECRETS: LazyLock<CookieSecrets> =
    LazyLock::new(|| CookieSecrets::parse(b"00112233445566778899aabbccddeeff").unwrap());

/// What each of the first snapshots is for.
const SEVERAL: usize = 1;
const FENCED: usize = 6;

/// A fleet with every policy; with several addresses of both families, and clients that are spread; one in which a region
/// ramps and one is down, one that is down as a whole, one without a plan, one whose clients are spread among regions
/// of one address each, and those again with fences.
static SNAPSHOTS: LazyLock<Vec<Snapshot>> = LazyLock::new(|| {
    let mut configuration = fleet::configuration().unwrap();
    let zone = configuration.zones.values_mut().next().unwrap();
    for (name, policy, band_km, max_addresses) in [
        ("split", Policy::Weighted, 0, 8),
        ("pair", Policy::Weighted, 0, 2),
        ("primary", Policy::Failover, 0, 8),
        ("band", Policy::Nearest, 20_000, 8),
        ("three", Policy::Nearest, 0, 3),
        ("one", Policy::Nearest, 0, 1),
        ("refuge", Policy::Nearest, 0, 8),
    ] {
        let mut steered = zone.steered[0].clone();
        (steered.name, steered.policy, steered.band_km) = (zone.name.child(name).unwrap(), policy, band_km);
        steered.max_addresses = max_addresses;
        if name == "refuge" {
            // Nobody's candidate.
            steered.all_down = AllDown::FailTo(steered.regions.pop().unwrap());
        }
        zone.steered.push(steered);
    }
    let region = |name: &str| RegionName::new(name).unwrap();
    let mut fenced = configuration.clone();
    for (name, jurisdiction, overflow) in
        [("eu-west", "EU", "EU"), ("us-west", "US", "US"), ("ap-southeast", "US", "EU")]
    {
        let region = fenced.regions.get_mut(&region(name)).unwrap();
        region.jurisdiction = Jurisdiction::new(jurisdiction).unwrap();
        region.overflow_jurisdictions = vec![Jurisdiction::new(overflow).unwrap()];
    }
    let addresses = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect::<Vec<_>>();
    let mut up = fleet::plan().unwrap();
    let us = up.regions.get_mut(&region("us-west")).unwrap();
    us.addresses = addresses(&["192.0.2.1", "192.0.2.11", "192.0.2.12", "2001:db8::1", "2001:db8::11"]);
    us.placement = [(region("us-west"), 700), (region("eu-west"), 300)].into();
    let eu = up.regions.get_mut(&region("eu-west")).unwrap();
    eu.addresses = addresses(&["192.0.2.2", "192.0.2.21", "2001:db8::2"]);
    let mut ramps = up.clone();
    ramps.regions.get_mut(&region("us-west")).unwrap().target_weight += 1;
    ramps.regions.get_mut(&region("eu-west")).unwrap().state = RegionState::Down;
    let mut down = up.clone();
    down.regions.values_mut().for_each(|region| region.state = RegionState::Down);
    let mut spread = fleet::plan().unwrap();
    for (origin, other) in [("us-west", "eu-west"), ("eu-west", "ap-southeast")] {
        let placement = [(region(origin), 600), (region(other), 400)].into();
        spread.regions.get_mut(&region(origin)).unwrap().placement = placement;
    }
    let plans = [Some(fleet::plan().unwrap()), Some(up), Some(ramps), Some(down), None, Some(spread)];
    let configurations = [configuration, fenced].map(Arc::new);
    let inputs = |configuration: &Arc<_>, plan: Option<_>| Inputs {
        configuration: Arc::clone(configuration),
        plan: plan.map(Arc::new),
        node: "node-1".into(),
        ..Inputs::default()
    };
    let both = configurations.iter().flat_map(|configuration| plans.iter().map(move |plan| (configuration, plan)));
    both.map(|(configuration, plan)| Snapshot::compile(inputs(configuration, plan.clone()), None)).collect()
});

fn arrival(source: IpAddr) -> Arrival<'static> {
    Arrival { source, transport: Transport::Udp, cookies: Some((&SECRETS, &Stopped)), manner: Manner::Full }
}

/// Without regard to what is ready.
fn thought_about<'s>(snapshot: &'s Snapshot, packet: &[u8], source: IpAddr) -> Option<(Vec<u8>, Facts<'s>)> {
    let (request, mut out) = (Request::parse(packet)?, Vec::new());
    let arrival = arrival(source);
    let client = Client::of(&request, source);
    let facts = ponder(snapshot, &request, &client, &arrival, arrival.cookie(&request), &mut out);
    Some((out, facts))
}

/// Compares; whether the answer was ready.
fn check(snapshot: &Snapshot, packet: &[u8], source: IpAddr) -> bool {
    // What another query left there must not show.
    let mut out = vec![0xEE; 40];
    let found = respond(snapshot, packet, &arrival(source), &mut out);
    let Some((bytes, expected)) = thought_about(snapshot, packet, source) else {
        assert!(found.is_none());
        return false;
    };
    let found = found.expect("an answer");
    assert_eq!(out, bytes, "{packet:?} from {source}");
    let shown = |facts: &Facts<'_>| format!("{:?}", Facts { series: None, ..*facts });
    assert_eq!(shown(&found), shown(&expected));
    found.series.is_some()
}

fn corpus() -> impl Iterator<Item = Vec<u8>> {
    let lines = include_str!("../../tests/data/corpus.txt").lines().filter(|line| !line.starts_with('#'));
    let hex = lines.map(|line| line.split(' ').next().unwrap());
    hex.map(|hex| (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect())
}

#[test]
fn every_packet_of_the_corpus_is_answered_the_same() {
    let mut ready = 0;
    for packet in corpus() {
        for snapshot in SNAPSHOTS.iter() {
            ready += usize::from(check(snapshot, &packet, [198, 51, 100, 7].into()));
        }
    }
    assert!(ready > 100, "{ready}");
}

#[test]
fn plain_questions_for_what_stands_in_the_zone_are_ready() {
    let is_ready = |name: &str, qtype: u16| {
        let query = Query { name: name.to_owned(), qtype, ..Query::default() };
        check(&SNAPSHOTS[SEVERAL], &query.bytes(), [198, 51, 100, 7].into())
    };
    for (name, qtype) in [("api", 1), ("split", 1), ("primary", 1), ("band", 1), ("band", 28), ("www", 1), ("www", 16)]
    {
        assert!(is_ready(&format!("{name}.gslb.example"), qtype), "{name} {qtype}");
    }
    for (name, qtype) in
        [("api", 65), ("alias", 1), ("x.wild", 1), ("none", 1), ("child", 1), ("ns.child", 1), ("www", 255)]
    {
        assert!(!is_ready(&format!("{name}.gslb.example"), qtype), "{name} {qtype}");
    }
}

#[test]
fn every_steered_name_is_ready_in_every_state_for_clients_of_every_place() {
    let clients = [[198, 51, 100, 7], [203, 0, 113, 7], [192, 0, 2, 200]];
    for (number, snapshot) in SNAPSHOTS.iter().enumerate() {
        for (name, Steered { steering, .. }) in snapshot.all_steered() {
            for client in clients {
                let unit = Unit::of(client.into());
                for pool in steering.pools_for(unit) {
                    let Pool::Members(members) = pool else { continue };
                    assert!(steering.ready(members, unit).is_some(), "{number} {name} {unit}");
                    assert!(steering.line_up(members, None, &mut Shelf::of(0)).is_none(), "{number} {name}");
                }
            }
        }
    }
    let fenced = SNAPSHOTS[FENCED].all_steered().filter(|(_, steered)| steered.steering.is_fenced());
    assert!(fenced.count() > 2);
}

#[test]
fn what_finds_no_room_is_thought_about_and_answered_the_same() {
    let inputs = || SNAPSHOTS[SEVERAL].inputs.clone();
    // Room for some sheets, but not for all.
    let small = Snapshot::with_shelf(inputs(), None, Shelf::of(30_000));
    assert!(small.unready_names() > 0 && (1..=30_000).contains(&small.ready_bytes()));
    assert_eq!(SNAPSHOTS[SEVERAL].unready_names(), 0);
    let (mut ready, mut not) = (0, 0);
    for name in ["api", "split", "pair", "primary", "band", "three"] {
        for client in 0..100u8 {
            let query = Query { name: format!("{name}.gslb.example"), qtype: 1, ..Query::default() };
            match check(&small, &query.bytes(), [203, 0, client, 7].into()) {
                true => ready += 1,
                false => not += 1,
            }
        }
    }
    assert!(ready > 0 && not > 0, "{ready} {not}");
}

/// A query, well formed or nearly.
#[derive(Debug, Clone, Default)]
struct Query {
    flags: u16,
    name: String,
    /// Which letters are upper case.
    case: u64,
    qtype: u16,
    class: u16,
    opt: Option<Opt>,
    trailing: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Opt {
    size: u16,
    version: u8,
    flags: u16,
    options: Vec<(u16, Vec<u8>)>,
}

impl Query {
    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0xBE, 0xEF];
        out.extend(self.flags.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.opt.is_some())]);
        for label in self.name.split('.') {
            out.push(label.len() as u8);
            for byte in label.bytes() {
                let is_upper = self.case.rotate_right(out.len() as u32) & 1 == 1;
                out.push(if is_upper { byte.to_ascii_uppercase() } else { byte });
            }
        }
        out.push(0);
        out.extend(self.qtype.to_be_bytes());
        out.extend(self.class.max(1).to_be_bytes());
        if let Some(opt) = &self.opt {
            out.extend([0, 0, 41]);
            out.extend(opt.size.to_be_bytes());
            out.extend([0, opt.version]);
            out.extend(opt.flags.to_be_bytes());
            let option = |(code, value): &(u16, Vec<u8>)| {
                [&code.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
            };
            let options: Vec<u8> = opt.options.iter().flat_map(option).collect();
            out.extend((options.len() as u16).to_be_bytes());
            out.extend(options);
        }
        out.extend(&self.trailing);
        out
    }
}

/// Client subnets: mostly well formed, of both families, near regions and anywhere.
fn subnet() -> impl Strategy<Value = Vec<u8>> {
    let v4 = (0u8..=32, any::<[u8; 4]>()).prop_map(|(length, octets)| truncated(1, length, &octets));
    let near = (select(vec![[198, 51, 100, 9], [203, 0, 113, 9]]), 20u8..=32);
    let near = near.prop_map(|(octets, length)| truncated(1, length, &octets));
    let v6 = (0u8..=128, any::<[u8; 14]>())
        .prop_map(|(length, octets)| truncated(2, length, &[&[0x20, 0x01][..], &octets].concat()));
    prop_oneof![3 => v4, 3 => near, 3 => v6, 1 => vec(any::<u8>(), 0..10)]
}

fn truncated(family: u8, length: u8, octets: &[u8]) -> Vec<u8> {
    let mut octets = octets[..usize::from(length.div_ceil(8))].to_vec();
    if let Some(last) = octets.last_mut() {
        *last &= 0xFF << (length.wrapping_neg() % 8);
    }
    [&[0, family, length, 0], octets.as_slice()].concat()
}

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

fn cookie() -> impl Strategy<Value = Vec<u8>> {
    let ours = any::<[u8; 8]>().prop_map(|client| SECRETS.issue(client, SOURCE, (NOW_UNIX_MS / 1000) as u32).to_vec());
    prop_oneof![ours, vec(any::<u8>(), 8), vec(any::<u8>(), 16..=40), vec(any::<u8>(), 0..45)]
}

fn options() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let option = prop_oneof![
        subnet().prop_map(|value| (8, value)),
        cookie().prop_map(|value| (10, value)),
        Just((3, Vec::new())),
        Just((11, Vec::new())),
        (any::<u16>(), vec(any::<u8>(), 0..20)),
    ];
    vec(option, 0..4)
}

fn opt() -> impl Strategy<Value = Option<Opt>> {
    let version = prop_oneof![9 => Just(0u8), 1 => any::<u8>()];
    let size = prop_oneof![any::<u16>(), 0u16..1400];
    let opt = (size, version, any::<u16>(), options());
    prop::option::weighted(0.8, opt.prop_map(|(size, version, flags, options)| Opt { size, version, flags, options }))
}

fn query() -> impl Strategy<Value = Query> {
    // Responses, operations and flags that mean nothing; or what resolvers send.
    let flags =
        prop_oneof![Just(0u16), Just(0x0100), Just(0x0120), any::<u16>(), any::<u16>().prop_map(|f| f & 0x87FF)];
    let qtype = prop_oneof![4 => Just(1u16), 2 => Just(28), 2 => select(vec![2, 6, 15, 16, 33, 64, 65, 255, 257]), 1 => any::<u16>()];
    let class = prop_oneof![9 => Just(1u16), 1 => any::<u16>()];
    let trailing = prop_oneof![4 => Just(Vec::new()), 1 => vec(any::<u8>(), 0..8)];
    (
        flags,
        prop_oneof![select(NAMES[..8].to_vec()), select(NAMES.to_vec())],
        any::<u64>(),
        qtype,
        class,
        opt(),
        trailing,
    )
        .prop_map(|(flags, name, case, qtype, class, opt, trailing)| Query {
            flags,
            name: name.to_owned(),
            case,
            qtype,
            class,
            opt,
            trailing,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn whatever_is_asked_the_two_say_the_same(
        query in query(),
        snapshot in any::<Index>(),
        source in prop_oneof![Just(SOURCE), any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)],
        bend in prop::option::weighted(0.2, (any::<Index>(), any::<u8>())),
    ) {
        let mut packet = query.bytes();
        if let Some((at, byte)) = bend {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        check(snapshot.get(SNAPSHOTS.as_slice()), &packet, source);
    }
}
