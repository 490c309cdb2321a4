//! Zones as they are answered from: every name with its RRsets, empty non-terminals included, so that a lookup is a
//! walk up the question's labels (RFC 1034 section 4.3.2, RFC 4592).

use std::collections::BTreeMap;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use meridian_types::zone::{ClientPlace, Record, RecordData};
use meridian_types::{Configuration, DomainName, Zone as Declared};

use crate::classes::Networks;
use crate::name::{WireName, is_within, suffixes};
use crate::rdata::{Stored, store};
use crate::ready::Ready;

/// TTL of the zone's own SOA and NS records; they change by configuration only.
pub(crate) const APEX_TTL: u32 = 3600;

/// Longest TTL (RFC 2181 section 8).
const MAX_TTL: u32 = i32::MAX as u32;

/// The zones of one configuration.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    zones: BTreeMap<WireName, Zone>,
    pub(crate) ready: Ready,
}

/// One zone.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) name: DomainName,
    /// Its place among the configuration's zones.
    pub(crate) place: usize,
    pub(crate) apex: WireName,
    pub(crate) soa: Soa,
    pub(crate) networks: Networks,
    nodes: BTreeMap<WireName, Node>,
}

/// The start of authority without its serial, which changes with every plan.
#[derive(Debug)]
pub(crate) struct Soa {
    pub(crate) primary: WireName,
    pub(crate) mailbox: WireName,
    /// TTL of negative answers.
    pub(crate) minimum: u32,
}

/// What stands at a name; nothing at all for an empty non-terminal.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) rrsets: Vec<Rrset>,
    /// The place of the steered name in the zone's declaration.
    pub(crate) steered: Option<usize>,
    /// Whether name servers of another zone stand here.
    delegated: bool,
    /// Whether `*` is a child.
    has_wildcard: bool,
}

/// Records of one name and type.
#[derive(Debug)]
pub(crate) struct Rrset {
    pub(crate) rtype: RecordType,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<Stored>,
}

/// Where a name's lookup ended.
#[derive(Debug)]
pub(crate) enum Found<'z> {
    /// At or above the name another zone begins.
    Delegation { cut: &'z [u8], node: &'z Node },
    /// The name itself, or the wildcard that covers it.
    Node(&'z Node),
    /// The name does not exist.
    Nothing,
}

impl Zones {
    pub(crate) fn compile(configuration: &Configuration) -> Self {
        let compile = |(place, zone): (usize, &Declared)| {
            let networks = networks(zone, configuration);
            (WireName::from(&zone.name), Zone::compile(zone, place, networks))
        };
        let mut zones =
            Self { zones: configuration.zones.values().enumerate().map(compile).collect(), ready: Ready::default() };
        zones.ready = Ready::compile(&zones);
        zones
    }

    pub(crate) fn networks(&self, zone: &DomainName) -> Option<&Networks> {
        self.zones.get(&WireName::from(zone)).map(|zone| &zone.networks)
    }

    /// The zone with the longest name that `name` is in.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Zone> {
        suffixes(name).find_map(|suffix| self.zones.get(suffix))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.zones.values()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }
}

impl Zone {
    fn compile(declared: &Declared, place: usize, networks: Networks) -> Self {
        let apex = WireName::from(&declared.name);
        let soa = Soa {
            primary: WireName::from(declared.nameservers.first().unwrap_or(&declared.name)),
            mailbox: WireName::from(&declared.hostmaster),
            minimum: seconds(declared.negative_ttl),
        };
        let mut zone = Self { name: declared.name.clone(), place, apex, soa, networks, nodes: BTreeMap::new() };
        let servers = RecordData::Ns(declared.nameservers.clone());
        zone.add(&Record { name: declared.name.clone(), ttl: Duration::from_secs(APEX_TTL.into()), data: servers });
        for record in &declared.records {
            zone.add(record);
        }
        for (place, steered) in declared.steered.iter().enumerate() {
            if let Some(node) = zone.insert(&WireName::from(&steered.name)) {
                node.steered.get_or_insert(place);
            }
        }
        zone
    }

    fn add(&mut self, record: &Record) {
        let name = WireName::from(&record.name);
        let is_apex = name == self.apex;
        let Some(node) = self.insert(&name) else { return };
        let (rtype, data) = store(&record.data);
        node.delegated |= rtype == RecordType::NS && !is_apex;
        let ttl = seconds(record.ttl);
        match node.rrsets.iter_mut().find(|set| set.rtype == rtype) {
            // Records of one RRset have one TTL (RFC 2181 section 5.2): what is written down beats the default.
            Some(set) => {
                set.ttl = ttl;
                for item in data {
                    if !set.data.contains(&item) {
                        set.data.push(item);
                    }
                }
            }
            None => node.rrsets.push(Rrset { rtype, ttl, data }),
        }
    }

    /// The name's node, made if missing together with the names between it and the apex. `None` outside the zone.
    fn insert(&mut self, name: &WireName) -> Option<&mut Node> {
        if !is_within(name.as_bytes(), self.apex.as_bytes()) {
            return None;
        }
        let mut below_is_wildcard = false;
        for suffix in suffixes(name.as_bytes()) {
            let node = self.nodes.entry(WireName::from(suffix)).or_default();
            node.has_wildcard |= below_is_wildcard;
            below_is_wildcard = suffix.starts_with(WILDCARD);
            if suffix.len() == self.apex.as_bytes().len() {
                break;
            }
        }
        self.nodes.get_mut(name)
    }

    /// Looks `name`, a name within the zone, up.
    pub(crate) fn find(&self, name: &[u8]) -> Found<'_> {
        let mut encloser = None;
        let mut cut = None;
        for suffix in suffixes(name) {
            if let Some((at, node)) = self.nodes.get_key_value(suffix) {
                encloser.get_or_insert((suffix, node));
                if node.delegated {
                    // The highest one counts: what is below a cut is not ours.
                    cut = Some((at, node));
                }
            }
            if suffix.len() == self.apex.as_bytes().len() {
                break;
            }
        }
        if let Some((at, node)) = cut {
            return Found::Delegation { cut: at.as_bytes(), node };
        }
        match encloser {
            Some((suffix, node)) if suffix.len() == name.len() => Found::Node(node),
            Some((suffix, node)) if node.has_wildcard => {
                let wildcard = [WILDCARD, suffix].concat();
                self.nodes.get(wildcard.as_slice()).map_or(Found::Nothing, Found::Node)
            }
            _ => Found::Nothing,
        }
    }

    /// Every name that there is, with what stands there.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&WireName, &Node)> {
        self.nodes.iter()
    }

    /// The node of exactly `name`, without regard to delegations: for glue.
    pub(crate) fn node(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.get(name)
    }
}

/// The label `*`.
const WILDCARD: &[u8] = b"\x01*";

impl Node {
    pub(crate) fn rrset(&self, rtype: RecordType) -> Option<&Rrset> {
        self.rrsets.iter().find(|set| set.rtype == rtype)
    }

    /// Whether nothing stands at the name.
    pub(crate) fn is_empty(&self) -> bool {
        self.rrsets.is_empty() && self.steered.is_none()
    }
}

/// Where the zone's clients are; those of a region are taken to be where it is.
fn networks(zone: &Declared, configuration: &Configuration) -> Networks {
    let place = |place: &ClientPlace| match place {
        ClientPlace::At(coordinates) => Some(*coordinates),
        ClientPlace::Region(name) => Some(configuration.regions.get(name)?.coordinates),
    };
    Networks::compile(zone.networks.iter().filter_map(|(network, at)| Some((*network, place(at)?))).collect())
}

/// Whole seconds, as a TTL.
pub(crate) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(MAX_TTL).min(MAX_TTL)
}
