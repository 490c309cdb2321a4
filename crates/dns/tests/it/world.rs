//! What the tests share: a small fleet with one zone, a writer of raw queries that knows nothing of the server's code,
//! and hickory as the independent reader of its answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, RecordType};
use meridian_dns::{Inputs, Snapshot, Transport, answer};
use meridian_types::zone::{AllDown, ClientPlace, Policy, Record, RecordData, SteeredName};
use meridian_types::{
    CommitId, Configuration, Contingency, Coordinates, DomainName, Jurisdiction, Plan, PlanId, Region, RegionName,
    RegionPlan, RegionState, Shares, Zone,
};

pub(crate) const ZONE: &str = "gslb.example";
pub(crate) const US: &str = "us-west";
pub(crate) const EU: &str = "eu-west";
pub(crate) const AP: &str = "ap-southeast";
/// In the zone's networks: near us-west, near eu-west, near ap-southeast.
pub(crate) const CALIFORNIA: &str = "198.51.100.0/24";
pub(crate) const PARIS: &str = "203.0.113.0/24";
pub(crate) const SINGAPORE: &str = "2001:db8:65::/48";
/// Nobody knows where that is.
pub(crate) const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 200));

pub(crate) fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

pub(crate) fn domain(name: &str) -> DomainName {
    DomainName::new(name).unwrap()
}

fn at(latitude: f64, longitude: f64) -> Coordinates {
    Coordinates::new(latitude, longitude).unwrap()
}

pub(crate) fn addresses(name: &str) -> Vec<IpAddr> {
    let list: &[&str] = match name {
        US => &["192.0.2.1", "2001:db8::1"],
        EU => &["192.0.2.2", "2001:db8::2"],
        AP => &["192.0.2.3"],
        _ => &[],
    };
    list.iter().map(|address| address.parse().unwrap()).collect()
}

pub(crate) fn steered(name: &str, policy: Policy, regions: &[&str], all_down: AllDown) -> SteeredName {
    SteeredName {
        name: domain(ZONE).child(name).unwrap(),
        policy,
        regions: regions.iter().map(|name| region(name)).collect(),
        ttl: Duration::from_secs(30),
        max_addresses: 2,
        band_km: 0,
        jurisdictions: Vec::new(),
        https: None,
        all_down,
    }
}

fn record(name: &str, data: RecordData) -> Record {
    Record { name: domain(ZONE).child(name).unwrap(), ttl: Duration::from_secs(300), data }
}

fn a(address: &str) -> RecordData {
    RecordData::A(vec![address.parse().unwrap()])
}

/// Every parameter that can be written.
pub(crate) const HTTPS: &str =
    "1 . mandatory=alpn,port alpn=h2,h3 no-default-alpn port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1";

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn cname(target: &str) -> RecordData {
    RecordData::Cname(domain(target))
}

pub(crate) fn zone() -> Zone {
    let many = (0..40).map(|i| format!("{i:0>60}")).collect();
    Zone {
        name: domain(ZONE),
        nameservers: vec![domain("ns1.gslb.example"), domain("ns2.elsewhere.example")],
        hostmaster: domain("hostmaster.gslb.example"),
        negative_ttl: Duration::from_secs(20),
        steered: vec![
            steered("api", Policy::Nearest, &[US, EU, AP], AllDown::FailOpen),
            steered("split", Policy::Weighted, &[US, EU, AP], AllDown::Refuse),
            steered("primary", Policy::Failover, &[EU, US], AllDown::FailTo(region(AP))),
        ],
        records: vec![
            record("ns1", a("192.0.2.53")),
            record("www", RecordData::A(vec!["192.0.2.80".parse().unwrap(), "192.0.2.81".parse().unwrap()])),
            record("www", RecordData::Txt(vec!["hello".to_owned(), String::new()])),
            record("alias", cname("api.gslb.example")),
            record("alias2", cname("alias3.gslb.example")),
            record("alias3", cname("www.gslb.example")),
            record("dangling", cname("none.gslb.example")),
            record("out", cname("www.elsewhere.example")),
            record("loop1", cname("loop2.gslb.example")),
            record("loop2", cname("loop1.gslb.example")),
            record("*.wild", a("192.0.2.90")),
            record("known.wild", RecordData::Txt(vec!["not the wildcard".to_owned()])),
            record("deep.down.ent", a("192.0.2.91")),
            record("child", RecordData::Ns(vec![domain("ns.child.gslb.example"), domain("ns.elsewhere.example")])),
            record("ns.child", a("192.0.2.54")),
            record("many", RecordData::Txt(many)),
            record("typed", RecordData::Mx(parsed(&["10 mail.gslb.example", "0 ."]))),
            record("typed", RecordData::Srv(parsed(&["1 2 443 api.gslb.example"]))),
            record("typed", RecordData::Caa(parsed(&["128 issue \"ca.example; x=y\""]))),
            record("typed", RecordData::Ptr(vec![domain("api.gslb.example")])),
            record("typed", RecordData::Svcb(parsed(&["0 api.gslb.example"]))),
            record("typed", RecordData::Https(parsed(&[HTTPS]))),
            record("long", RecordData::Txt(vec!["x".repeat(600)])),
        ],
        networks: vec![
            (CALIFORNIA.parse().unwrap(), ClientPlace::At(at(37.8, -122.4))),
            (PARIS.parse().unwrap(), ClientPlace::At(at(48.9, 2.4))),
            (SINGAPORE.parse().unwrap(), ClientPlace::At(at(1.4, 103.8))),
        ],
    }
}

pub(crate) fn configuration(zone: Zone) -> Configuration {
    let mut configuration = Configuration::default();
    for (name, coordinates) in [(US, at(37.4, -122.1)), (EU, at(53.3, -6.3)), (AP, at(1.35, 103.9))] {
        configuration.regions.insert(
            region(name),
            Region {
                name: region(name),
                coordinates,
                jurisdiction: Jurisdiction::new("US").unwrap(),
                weight: 100,
                addresses: addresses(name),
                overflow_jurisdictions: Vec::new(),
            },
        );
    }
    configuration.zones.insert(zone.name.clone(), zone);
    configuration
}

pub(crate) fn shares(of: &[(&str, u32)]) -> Shares {
    of.iter().map(|(name, share)| (region(name), *share)).collect()
}

/// A plan with everybody at home and equal weights.
pub(crate) fn plan() -> Plan {
    let regions = [(US, 334), (EU, 333), (AP, 333)].map(|(name, weight)| {
        (
            region(name),
            RegionPlan {
                state: RegionState::Serving,
                weight,
                target_weight: weight,
                reason: "even".to_owned(),
                addresses: addresses(name),
                placement: shares(&[(name, 1000)]),
                capacity: 100,
                demand: 1.0,
                settled: None,
            },
        )
    });
    Plan {
        id: PlanId { epoch: 1, number: 7 },
        commit: CommitId(3),
        made_at_unix_ms: 0,
        made_by: "cp-1".to_owned(),
        reason: "test".to_owned(),
        regions: BTreeMap::from(regions),
        contingencies: BTreeMap::from([(
            region(EU),
            Contingency {
                weights: shares(&[(US, 900), (AP, 100)]),
                placements: BTreeMap::from([
                    (region(US), shares(&[(US, 1000)])),
                    (region(EU), shares(&[(AP, 1000)])),
                    (region(AP), shares(&[(AP, 1000)])),
                ]),
            },
        )]),
    }
}

pub(crate) fn with_state(mut plan: Plan, name: &str, state: RegionState) -> Plan {
    plan.regions.get_mut(name).unwrap().state = state;
    plan
}

pub(crate) fn inputs(zone: Zone, plan: Option<Plan>) -> Inputs {
    Inputs {
        commit: CommitId(3),
        configuration: Arc::new(configuration(zone)),
        plan: plan.map(Arc::new),
        gone: BTreeSet::new(),
        geo: None,
        node: "node-1".into(),
    }
}

pub(crate) fn snapshot(plan: Option<Plan>) -> Snapshot {
    Snapshot::compile(inputs(zone(), plan), None)
}

/// A query as bytes, every part of which a test can bend.
#[derive(Clone)]
pub(crate) struct Query {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) questions: u16,
    pub(crate) name: Vec<u8>,
    pub(crate) qtype: u16,
    pub(crate) class: u16,
    /// OPT records as (size, version, flags, options).
    pub(crate) opts: Vec<(u16, u8, u16, Vec<u8>)>,
    pub(crate) trailing: Vec<u8>,
}

impl Query {
    /// `name` relative to the zone, or absolute with a final dot.
    pub(crate) fn new(name: &str, qtype: RecordType) -> Self {
        let name = match (name.strip_suffix('.'), name) {
            (Some(absolute), _) => absolute.to_owned(),
            (None, "@") => ZONE.to_owned(),
            (None, relative) => format!("{relative}.{ZONE}"),
        };
        let mut wire = Vec::new();
        for label in name.split('.') {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        Self {
            id: 0xBEEF,
            flags: 0,
            questions: 1,
            name: wire,
            qtype: qtype.into(),
            class: 1,
            opts: Vec::new(),
            trailing: Vec::new(),
        }
    }

    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) fn edns(self) -> Self {
        self.opt(4096, 0, 0, &[])
    }

    pub(crate) fn opt(mut self, size: u16, version: u8, flags: u16, options: &[u8]) -> Self {
        self.opts.push((size, version, flags, options.to_vec()));
        self
    }

    pub(crate) fn option(self, code: u16, value: &[u8]) -> Self {
        self.opt(4096, 0, 0, &option(code, value))
    }

    /// With a client subnet, `203.0.113.0/24` for example.
    pub(crate) fn subnet(self, network: &str) -> Self {
        self.option(8, &subnet(network))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [self.id, self.flags, self.questions, 0, 0, self.opts.len() as u16] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        for _ in 0..self.questions {
            out.extend_from_slice(&self.name);
            out.extend_from_slice(&self.qtype.to_be_bytes());
            out.extend_from_slice(&self.class.to_be_bytes());
        }
        for (size, version, flags, options) in &self.opts {
            out.extend_from_slice(&[0, 0, 41]);
            out.extend_from_slice(&size.to_be_bytes());
            out.extend_from_slice(&[0, *version]);
            out.extend_from_slice(&flags.to_be_bytes());
            out.extend_from_slice(&(options.len() as u16).to_be_bytes());
            out.extend_from_slice(options);
        }
        out.extend_from_slice(&self.trailing);
        out
    }

    /// Asks over UDP, from nowhere.
    pub(crate) fn ask(&self, snapshot: &Snapshot) -> Message {
        self.ask_from(snapshot, NOWHERE, Transport::Udp)
    }

    pub(crate) fn ask_from(&self, snapshot: &Snapshot, source: IpAddr, transport: Transport) -> Message {
        let bytes = answer(snapshot, &self.bytes(), source, transport).expect("an answer");
        let message = Message::from_vec(&bytes).unwrap_or_else(|error| panic!("{error}: {bytes:?}"));
        assert_eq!(message.id, self.id);
        message
    }
}

pub(crate) fn option(code: u16, value: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// A well-formed client-subnet option's data.
pub(crate) fn subnet(network: &str) -> Vec<u8> {
    let network: ipnet::IpNet = network.parse().unwrap();
    let (family, octets) = match network.addr() {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let length = usize::from(network.prefix_len().div_ceil(8));
    [&[0, family, network.prefix_len(), 0][..], &octets[..length]].concat()
}

/// The addresses of the answer section, in order.
pub(crate) fn answered(message: &Message) -> Vec<String> {
    let address = |data: &RData| match data {
        RData::A(address) => Some(address.to_string()),
        RData::AAAA(address) => Some(address.to_string()),
        _ => None,
    };
    message.answers.iter().filter_map(|record| address(&record.data)).collect()
}

/// The value of an EDNS option in the answer, by its raw bytes.
pub(crate) fn raw_option(bytes: &[u8], code: u16) -> Option<Vec<u8>> {
    // The OPT record is last, and its owner is the root: the option's TLVs end the message.
    let message = Message::from_vec(bytes).unwrap();
    message.edns.as_ref()?;
    let opt = (0..bytes.len()).rev().find(|&at| {
        let length = bytes.get(at + 9..at + 11).map(|l| usize::from(u16::from_be_bytes([l[0], l[1]])));
        bytes[at..].starts_with(&[0, 0, 41]) && length.is_some_and(|length| at + 11 + length == bytes.len())
    })?;
    let mut rest = &bytes[opt + 11..];
    while let [a, b, c, d, tail @ ..] = rest {
        let (found, length) = (u16::from_be_bytes([*a, *b]), usize::from(u16::from_be_bytes([*c, *d])));
        if found == code {
            return Some(tail[..length].to_vec());
        }
        rest = &tail[length..];
    }
    None
}
