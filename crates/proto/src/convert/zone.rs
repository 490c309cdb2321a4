//! Zones.

use std::time::Duration;

use meridian_types::record::ServiceParameters;
use meridian_types::zone::{AllDown, ClientPlace, Policy, Record, RecordData, SteeredName};
use meridian_types::{DomainName, ErrorCode, Kind, RegionName, Zone};

use super::STAND_IN;
use super::reader::{Reader, Reading};
use super::region::coordinates;
use crate::resources::v1 as wire;
use crate::resources::v1::all_down::Action;

/// TTLs below 5 s are floored by many resolvers; above an hour a change of plan would come too late.
const STEERED_TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);
const DEFAULT_TTL: Duration = Duration::from_secs(30);
/// A week (RFC 8767 section 4 advises resolvers to cap there).
const STATIC_TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(0)..=Duration::from_secs(604_800);
const DEFAULT_STATIC_TTL: Duration = Duration::from_secs(300);
/// More addresses do not fit into an answer that no path truncates, together with the rest of it.
const MAX_ADDRESSES: u32 = 8;
const DEFAULT_ADDRESSES: u32 = 2;
/// What the scheme implies need not be said (RFC 9460 section 9.5).
const HTTPS_PORT: u32 = 443;
/// Half the way around the Earth.
const MAX_BAND_KM: u32 = 20_000;

/// Types of records with fixed content.
const RECORD_TYPES: &str = "A, AAAA, CAA, CNAME, HTTPS, MX, NS, PTR, SRV, SVCB and TXT";

/// Reads a zone.
pub(super) fn read(message: &wire::Zone) -> Reading<Zone> {
    let mut reader = Reader::new(Kind::Zone, &message.name);
    let name = reader.text_or::<Named>("name", &message.name, STAND_IN);
    let Some(Named(name)) = name else { return reader.finish(None) };
    let nameservers = nameservers(&mut reader, message);
    let hostmaster = match message.hostmaster.as_str() {
        "" => name.child("hostmaster"),
        text => DomainName::new(text),
    };
    let hostmaster = reader.parsed("hostmaster", hostmaster).unwrap_or_else(|| name.clone());
    let negative_ttl = reader.duration("negative_ttl", message.negative_ttl.as_ref(), DEFAULT_TTL, STATIC_TTL);
    let mut steered = Vec::new();
    for (i, entry) in message.steered.iter().enumerate() {
        steered.extend(steered_name(&mut reader, &format!("steered[{i}]"), &name, entry));
    }
    let mut records = Vec::new();
    for (i, entry) in message.records.iter().enumerate() {
        let record = record(&mut reader, &format!("records[{i}]"), &name, entry);
        records.extend(record.map(|record| (i, record)));
    }
    check_cnames(&mut reader, &name, &records, &steered);
    check_steered_alone(&mut reader, &records, &steered);
    let networks = networks(&mut reader, message);
    let records = records.into_iter().map(|(_, record)| record).collect();
    reader.finish(Some(Zone { name, nameservers, hostmaster, negative_ttl, steered, records, networks }))
}

/// A domain name in the form in which the reader parses texts.
struct Named(DomainName);

impl std::str::FromStr for Named {
    type Err = meridian_types::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DomainName::new(text).map(Self)
    }
}

fn nameservers(reader: &mut Reader, message: &wire::Zone) -> Vec<DomainName> {
    if message.nameservers.is_empty() {
        reader.mistake("nameservers", ErrorCode::MissingField, "at least one name server is required");
    }
    let servers = message.nameservers.iter().enumerate();
    servers.filter_map(|(i, text)| reader.parsed(&format!("nameservers[{i}]"), DomainName::new(text))).collect()
}

fn steered_name(reader: &mut Reader, path: &str, zone: &DomainName, entry: &wire::SteeredName) -> Option<SteeredName> {
    let name = relative(reader, &format!("{path}.name"), zone, &entry.name);
    // Two names that cannot be read are not one name.
    let name = name.or_else(|| zone.child(&path.replace(['[', ']'], "-x")).ok());
    let policy = match entry.policy() {
        wire::Policy::Nearest => Policy::Nearest,
        wire::Policy::Weighted => Policy::Weighted,
        wire::Policy::Failover => Policy::Failover,
        wire::Policy::Unspecified => {
            let text = "write one of NEAREST, WEIGHTED, FAILOVER";
            reader.mistake(&format!("{path}.policy"), ErrorCode::MissingField, text);
            Policy::Nearest
        }
    };
    let mut regions = Vec::new();
    for (i, region) in entry.regions.iter().enumerate() {
        regions.extend(reader.text_or::<RegionName>(&format!("{path}.regions[{i}]"), region, STAND_IN));
    }
    let ttl = reader.duration(&format!("{path}.ttl"), entry.ttl.as_ref(), DEFAULT_TTL, STEERED_TTL);
    let max_addresses = entry.max_addresses.unwrap_or(DEFAULT_ADDRESSES);
    let max_addresses = reader.in_range(&format!("{path}.max_addresses"), max_addresses, 1..=MAX_ADDRESSES);
    let mut jurisdictions = Vec::new();
    for (i, jurisdiction) in entry.jurisdictions.iter().enumerate() {
        jurisdictions.extend(reader.text(&format!("{path}.jurisdictions[{i}]"), jurisdiction));
    }
    if jurisdictions.len() < entry.jurisdictions.len() {
        // Whom a fence admits that is known in part is not known.
        jurisdictions.clear();
    }
    let https = entry.https.as_ref().map(|https| service(reader, &format!("{path}.https"), https));
    let band_path = format!("{path}.band_km");
    let band_km = reader.in_range(&band_path, entry.band_km.unwrap_or(0), 0..=MAX_BAND_KM);
    if band_km > 0 && policy != Policy::Nearest {
        reader.mistake(&band_path, ErrorCode::InvalidField, "a distance band is for the policy NEAREST");
    }
    let all_down = all_down(reader, &format!("{path}.all_down"), entry.all_down.as_ref());
    Some(SteeredName {
        name: name?,
        policy,
        regions,
        ttl,
        max_addresses: usize::try_from(max_addresses).ok()?,
        band_km,
        jurisdictions,
        https,
        all_down: all_down.unwrap_or(AllDown::FailOpen),
    })
}

fn service(reader: &mut Reader, path: &str, message: &wire::Https) -> ServiceParameters {
    if message.alpn.is_empty() || message.alpn.iter().any(|protocol| !(1..=255).contains(&protocol.len())) {
        let text = "at least one protocol of 1 to 255 bytes is required, for example h2";
        reader.mistake(&format!("{path}.alpn"), ErrorCode::InvalidField, text);
    }
    let port = message.port.map(|port| reader.in_range(&format!("{path}.port"), port, 1..=u16::MAX.into()));
    let port = port.filter(|port| *port != HTTPS_PORT).and_then(|port| u16::try_from(port).ok());
    ServiceParameters { alpn: message.alpn.clone(), port, ..ServiceParameters::default() }
}

fn all_down(reader: &mut Reader, path: &str, message: Option<&wire::AllDown>) -> Option<AllDown> {
    match message.and_then(|message| message.action.as_ref()) {
        Some(Action::FailOpen(_)) => Some(AllDown::FailOpen),
        Some(Action::Refuse(_)) => Some(AllDown::Refuse),
        Some(Action::FailTo(region)) => reader.text(&format!("{path}.fail_to"), region).map(AllDown::FailTo),
        None => {
            let text =
                "write what is answered when no region can serve: {fail_open: {}}, {fail_to: REGION} or {refuse: {}}";
            reader.mistake(path, ErrorCode::MissingField, text);
            None
        }
    }
}

fn relative(reader: &mut Reader, path: &str, zone: &DomainName, text: &str) -> Option<DomainName> {
    if text.is_empty() {
        reader.mistake(path, ErrorCode::MissingField, "write a name relative to the zone, or @ for the zone itself");
        return None;
    }
    reader.parsed(path, zone.child(text))
}

fn record(reader: &mut Reader, path: &str, zone: &DomainName, entry: &wire::Record) -> Option<Record> {
    let name = relative(reader, &format!("{path}.name"), zone, &entry.name);
    let ttl = reader.duration(&format!("{path}.ttl"), entry.ttl.as_ref(), DEFAULT_STATIC_TTL, STATIC_TTL);
    if entry.values.is_empty() {
        reader.mistake(&format!("{path}.values"), ErrorCode::MissingField, "at least one value is required");
        return None;
    }
    let data = record_data(reader, path, entry)?;
    Some(Record { name: name?, ttl, data })
}

fn record_data(reader: &mut Reader, path: &str, entry: &wire::Record) -> Option<RecordData> {
    fn all<T, E: std::fmt::Display>(
        reader: &mut Reader,
        path: &str,
        values: &[String],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let values = values.iter().enumerate();
        values.filter_map(|(i, value)| reader.parsed(&format!("{path}.values[{i}]"), parse(value))).collect()
    }
    let values = &entry.values;
    match entry.r#type.as_str() {
        "A" => Some(RecordData::A(all(reader, path, values, |v| v.parse::<std::net::Ipv4Addr>()))),
        "AAAA" => Some(RecordData::Aaaa(all(reader, path, values, |v| v.parse::<std::net::Ipv6Addr>()))),
        "NS" => Some(RecordData::Ns(all(reader, path, values, DomainName::new))),
        "TXT" => Some(RecordData::Txt(values.clone())),
        "MX" => Some(RecordData::Mx(all(reader, path, values, str::parse))),
        "SRV" => Some(RecordData::Srv(all(reader, path, values, str::parse))),
        "CAA" => Some(RecordData::Caa(all(reader, path, values, str::parse))),
        "PTR" => Some(RecordData::Ptr(all(reader, path, values, DomainName::new))),
        "SVCB" => Some(RecordData::Svcb(all(reader, path, values, str::parse))),
        "HTTPS" => Some(RecordData::Https(all(reader, path, values, str::parse))),
        "CNAME" if values.len() == 1 => {
            all(reader, path, values, DomainName::new).into_iter().next().map(RecordData::Cname)
        }
        "CNAME" => {
            reader.mistake(&format!("{path}.values"), ErrorCode::InvalidField, "a CNAME has exactly one value");
            None
        }
        other => {
            let text = format!("{other:?} is not allowed; {RECORD_TYPES} are");
            reader.mistake(&format!("{path}.type"), ErrorCode::InvalidField, text);
            None
        }
    }
}

/// A CNAME stands alone (RFC 2181 section 10.1), so neither at the apex nor beside other records.
fn check_cnames(reader: &mut Reader, zone: &DomainName, records: &[(usize, Record)], steered: &[SteeredName]) {
    for (i, record) in records {
        if !matches!(record.data, RecordData::Cname(_)) {
            continue;
        }
        let others = records.iter().filter(|(_, other)| other.name == record.name).count();
        if record.name == *zone || others > 1 || steered.iter().any(|steered| steered.name == record.name) {
            let text = format!("{} has other records; a CNAME must stand alone (RFC 2181)", record.name);
            reader.mistake(&format!("records[{i}]"), ErrorCode::InvalidField, text);
        }
    }
}

/// A steered name's addresses come from the regions; fixed ones beside them would never be answered.
fn check_steered_alone(reader: &mut Reader, records: &[(usize, Record)], steered: &[SteeredName]) {
    for (i, record) in records {
        let Some(steered) = steered.iter().find(|steered| steered.name == record.name) else { continue };
        let text = match record.data {
            RecordData::A(_) | RecordData::Aaaa(_) => "its addresses come from the regions",
            RecordData::Svcb(_) | RecordData::Https(_) if steered.https.is_some() => {
                "its bindings come from its `https`"
            }
            _ => continue,
        };
        let text = format!("{} is steered: {text}", record.name);
        reader.mistake(&format!("records[{i}]"), ErrorCode::InvalidField, text);
    }
}

fn networks(reader: &mut Reader, message: &wire::Zone) -> Vec<(ipnet::IpNet, ClientPlace)> {
    let mut networks = Vec::new();
    for (i, network) in message.networks.iter().enumerate() {
        let path = format!("networks[{i}]");
        let place = client_place(reader, &path, network);
        for (j, cidr) in network.cidrs.iter().enumerate() {
            let cidr = reader.text::<ipnet::IpNet>(&format!("{path}.cidrs[{j}]"), cidr);
            networks.extend(cidr.map(|cidr| cidr.trunc()).zip(place.clone()));
        }
    }
    networks
}

fn client_place(reader: &mut Reader, path: &str, network: &wire::ClientNetwork) -> Option<ClientPlace> {
    match (&network.coordinates, network.region.as_str()) {
        (Some(place), "") => coordinates(reader, &format!("{path}.coordinates"), place).map(ClientPlace::At),
        (None, "") => {
            reader.mistake(path, ErrorCode::MissingField, "write coordinates, or the region whose place it is");
            None
        }
        (None, region) => reader.text(&format!("{path}.region"), region).map(ClientPlace::Region),
        (Some(_), _) => {
            reader.mistake(path, ErrorCode::InvalidField, "write either coordinates or a region");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(records: Vec<wire::Record>) -> wire::Zone {
        wire::Zone {
            name: "gslb.example".to_owned(),
            nameservers: vec!["ns1.gslb.example".to_owned()],
            steered: vec![wire::SteeredName {
                name: "api".to_owned(),
                policy: wire::Policy::Nearest.into(),
                all_down: Some(wire::AllDown { action: Some(Action::FailOpen(wire::Empty {})) }),
                ..wire::SteeredName::default()
            }],
            records,
            ..wire::Zone::default()
        }
    }

    fn mistakes(zone: &wire::Zone) -> Vec<String> {
        read(zone).mistakes.into_iter().map(|mistake| mistake.to_string()).collect()
    }

    #[test]
    fn a_network_has_one_place_and_a_band_belongs_to_the_nearest() {
        let check = |bend: fn(&mut wire::Zone), expected: &[&str]| {
            let mut zone = declared(Vec::new());
            bend(&mut zone);
            let expected: Vec<String> = expected.iter().map(|text| format!("Zone/gslb.example: {text}")).collect();
            assert_eq!(mistakes(&zone), expected);
        };
        fn network(coordinates: bool, region: &str) -> wire::ClientNetwork {
            let coordinates = coordinates.then(wire::Coordinates::default);
            wire::ClientNetwork { cidrs: vec!["192.0.2.0/24".to_owned()], coordinates, region: region.to_owned() }
        }
        check(|zone| zone.networks = vec![network(true, ""), network(false, "eu-west")], &[]);
        let missing = "networks[0]: write coordinates, or the region whose place it is";
        check(|zone| zone.networks = vec![network(false, "")], &[missing]);
        check(
            |zone| zone.networks = vec![network(true, "eu-west")],
            &["networks[0]: write either coordinates or a region"],
        );
        check(|zone| zone.steered[0].band_km = Some(500), &[]);
        check(
            |zone| zone.steered[0].band_km = Some(20_001),
            &["steered[0].band_km: 20001 is not allowed; 0 to 20000 is"],
        );
        check(
            |zone| (zone.steered[0].band_km, zone.steered[0].policy) = (Some(1), wire::Policy::Weighted.into()),
            &["steered[0].band_km: a distance band is for the policy NEAREST"],
        );
    }

    #[test]
    fn a_service_has_protocols_and_bindings_of_its_own() {
        let check = |alpn: &[&str], port: Option<u32>, records: &[(&str, &str)], expected: &[&str]| {
            let record = |(r#type, value): &(&str, &str)| wire::Record {
                name: "api".to_owned(),
                r#type: (*r#type).to_owned(),
                values: vec![(*value).to_owned()],
                ttl: None,
            };
            let mut zone = declared(records.iter().map(record).collect());
            let alpn = alpn.iter().map(|protocol| (*protocol).to_owned()).collect();
            zone.steered[0].https = Some(wire::Https { alpn, port });
            let expected: Vec<String> = expected.iter().map(|text| format!("Zone/gslb.example: {text}")).collect();
            assert_eq!(mistakes(&zone), expected);
            read(&zone).checked().ok().and_then(|mut zone| zone.steered.remove(0).https?.port)
        };
        assert_eq!(check(&["h2", "http/1.1"], None, &[], &[]), None);
        assert_eq!(check(&["h2"], Some(443), &[], &[]), None);
        assert_eq!(check(&["h2"], Some(8443), &[("TXT", "x")], &[]), Some(8443));
        let alpn = "steered[0].https.alpn: at least one protocol of 1 to 255 bytes is required, for example h2";
        check(&[], None, &[], &[alpn]);
        check(&["h2", ""], None, &[], &[alpn]);
        check(&["h2"], Some(0), &[], &["steered[0].https.port: 0 is not allowed; 1 to 65535 is"]);
        let own = "records[0]: api.gslb.example is steered: its bindings come from its `https`";
        check(&["h2"], None, &[("HTTPS", "1 .")], &[own]);
        check(&["h2"], None, &[("SVCB", "0 a.example")], &[own]);
    }

    #[test]
    fn records_that_could_never_be_answered_are_mistakes() {
        let check = |name: &str, r#type: &str, value: &str, expected: Option<&str>| {
            let (name, r#type, values) = (name.to_owned(), r#type.to_owned(), vec![value.to_owned()]);
            let found = read(&declared(vec![wire::Record { name, r#type, values, ttl: None }])).checked().err();
            let found = found.map(|mistakes| mistakes.into_iter().map(|m| m.to_string()).collect::<Vec<_>>());
            let expected = expected.map(|text| vec![format!("Zone/gslb.example: records[0]: {text}")]);
            assert_eq!(found, expected);
        };
        check("www", "A", "192.0.2.1", None);
        for (r#type, value) in [
            ("MX", "10 mail.example"),
            ("SRV", "1 1 443 a.example"),
            ("CAA", "0 issue \"ca.example\""),
            ("PTR", "a.example"),
            ("SVCB", "0 a.example"),
            ("HTTPS", "1 . alpn=h2"),
        ] {
            check("www", r#type, value, None);
        }
        check("api", "TXT", "beside the addresses", None);
        let steered = "api.gslb.example is steered: its addresses come from the regions";
        check("api", "A", "192.0.2.1", Some(steered));
        check("api", "AAAA", "2001:db8::1", Some(steered));
        let alone = |name: &str| format!("{name} has other records; a CNAME must stand alone (RFC 2181)");
        check("api", "CNAME", "www", Some(&alone("api.gslb.example")));
        check("@", "CNAME", "www", Some(&alone("gslb.example")));
    }
}
