//! The fleet of the examples: three regions, one zone.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use meridian_types::record::ServiceBinding;
use meridian_types::zone::{AllDown, ClientPlace, Policy, Record, RecordData, SteeredName};
use meridian_types::{
    CommitId, Configuration, Coordinates, DomainName, Jurisdiction, Plan, PlanId, Region, RegionName, RegionPlan,
    RegionState, Zone,
};

const REGIONS: [(&str, f64, f64, &str); 3] = [
    ("us-west", 37.4, -122.1, "127.0.1.1"),
    ("eu-west", 53.3, -6.3, "127.0.1.2"),
    ("ap-southeast", 1.35, 103.9, "127.0.1.3"),
];

pub(crate) fn configuration() -> Result<Configuration, Box<dyn Error>> {
    let mut configuration = Configuration::default();
    let mut names = Vec::new();
    for (name, latitude, longitude, address) in REGIONS {
        let name = RegionName::new(name)?;
        names.push(name.clone());
        let region = Region {
            name: name.clone(),
            coordinates: Coordinates::new(latitude, longitude).ok_or("coordinates")?,
            jurisdiction: Jurisdiction::new("US")?,
            weight: 100,
            addresses: vec![address.parse()?],
            overflow_jurisdictions: Vec::new(),
        };
        configuration.regions.insert(name, region);
    }
    let zone = DomainName::new("gslb.example")?;
    let records = records(&zone)?;
    let steered = SteeredName {
        name: zone.child("api")?,
        policy: Policy::Nearest,
        regions: names,
        ttl: Duration::from_secs(30),
        max_addresses: 2,
        band_km: 0,
        jurisdictions: Vec::new(),
        https: Some("1 . alpn=h2".parse::<ServiceBinding>()?.parameters),
        all_down: AllDown::FailOpen,
    };
    let network = |cidr: &str, latitude, longitude| -> Result<_, Box<dyn Error>> {
        let at = Coordinates::new(latitude, longitude).ok_or("coordinates")?;
        Ok((cidr.parse()?, ClientPlace::At(at)))
    };
    let networks = vec![
        network("198.51.100.0/24", 37.8, -122.4)?,
        network("203.0.113.0/24", 48.9, 2.4)?,
        network("2001:db8:65::/48", 1.4, 103.8)?,
    ];
    let declared = Zone {
        name: zone.clone(),
        nameservers: vec![zone.child("ns1")?],
        hostmaster: zone.child("hostmaster")?,
        negative_ttl: Duration::from_secs(30),
        steered: vec![steered],
        records,
        networks,
    };
    configuration.zones.insert(zone, declared);
    Ok(configuration)
}

/// The content of `tests/dns-conformance/gslb.example.zone`, which other servers answer from.
fn records(zone: &DomainName) -> Result<Vec<Record>, Box<dyn Error>> {
    let inside = |name: &str| zone.child(name);
    let a = |addresses: &[[u8; 4]]| RecordData::A(addresses.iter().map(|octets| (*octets).into()).collect());
    let txt = |text: &str| RecordData::Txt(vec![text.to_owned()]);
    let records = vec![
        ("ns1", a(&[[192, 0, 2, 53]])),
        ("www", a(&[[192, 0, 2, 80], [192, 0, 2, 81]])),
        ("www", txt("hello")),
        ("six", RecordData::Aaaa(vec!["2001:db8::80".parse()?])),
        ("alias", RecordData::Cname(inside("www")?)),
        ("alias2", RecordData::Cname(inside("alias3")?)),
        ("alias3", RecordData::Cname(inside("www")?)),
        ("steered-alias", RecordData::Cname(inside("api")?)),
        ("dangling", RecordData::Cname(inside("none")?)),
        ("loop1", RecordData::Cname(inside("loop2")?)),
        ("loop2", RecordData::Cname(inside("loop1")?)),
        ("out", RecordData::Cname(DomainName::new("www.elsewhere.example")?)),
        ("*.wild", a(&[[192, 0, 2, 90]])),
        ("known.wild", txt("not the wildcard")),
        ("deep.down.ent", a(&[[192, 0, 2, 91]])),
        ("child", RecordData::Ns(vec![inside("ns.child")?])),
        ("ns.child", a(&[[192, 0, 2, 54]])),
        ("typed", RecordData::Mx(vec!["10 www.gslb.example".parse()?])),
        ("typed", RecordData::Srv(vec!["1 2 443 www.gslb.example".parse()?])),
        ("typed", RecordData::Ptr(vec![inside("www")?])),
        ("typed", RecordData::Caa(vec!["0 issue \"ca.example\"".parse()?])),
        ("typed", RecordData::Svcb(vec!["1 . alpn=h2".parse()?])),
        ("typed", RecordData::Https(vec!["1 . alpn=h2".parse()?])),
        ("medium", txt(&"m".repeat(200))),
        ("long", txt(&"x".repeat(600))),
        ("many", RecordData::Txt((0..40).map(|i| format!("{i:0>60}")).collect())),
    ];
    let ttl = Duration::from_secs(300);
    records.into_iter().map(|(name, data)| Ok(Record { name: inside(name)?, ttl, data })).collect()
}

pub(crate) fn plan() -> Result<Plan, Box<dyn Error>> {
    let mut regions = BTreeMap::new();
    for ((name, _, _, address), weight) in REGIONS.into_iter().zip([334, 333, 333]) {
        let name = RegionName::new(name)?;
        let region = RegionPlan {
            state: RegionState::Serving,
            weight,
            target_weight: weight,
            reason: "even".to_owned(),
            addresses: vec![address.parse::<IpAddr>()?],
            placement: BTreeMap::from([(name.clone(), 1000)]),
            capacity: 100,
            demand: 0.0,
            settled: None,
        };
        regions.insert(name, region);
    }
    Ok(Plan {
        id: PlanId { epoch: 1, number: 1 },
        commit: CommitId(1),
        made_at_unix_ms: 0,
        made_by: "example".to_owned(),
        reason: "example".to_owned(),
        regions,
        contingencies: BTreeMap::new(),
    })
}
