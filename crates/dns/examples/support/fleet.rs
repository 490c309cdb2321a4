//! The fleet of the examples: three regions, one zone.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use meridian_types::zone::{AllDown, Policy, Record, RecordData, SteeredName};
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
        };
        configuration.regions.insert(name, region);
    }
    let zone = DomainName::new("gslb.example")?;
    let record = |name: &str, data| -> Result<Record, Box<dyn Error>> {
        Ok(Record { name: zone.child(name)?, ttl: Duration::from_secs(300), data })
    };
    let records = vec![
        record("ns1", RecordData::A(vec!["127.0.0.1".parse()?]))?,
        record("www", RecordData::Cname(zone.child("api")?))?,
        record("many", RecordData::Txt((0..40).map(|i| format!("{i:0>60}")).collect()))?,
        record("child", RecordData::Ns(vec![zone.child("ns.child")?]))?,
        record("ns.child", RecordData::A(vec!["192.0.2.54".parse()?]))?,
    ];
    let steered = SteeredName {
        name: zone.child("api")?,
        policy: Policy::Nearest,
        regions: names,
        ttl: Duration::from_secs(30),
        max_addresses: 2,
        all_down: AllDown::FailOpen,
    };
    let paris = Coordinates::new(48.9, 2.4).ok_or("coordinates")?;
    let declared = Zone {
        name: zone.clone(),
        nameservers: vec![zone.child("ns1")?],
        hostmaster: zone.child("hostmaster")?,
        negative_ttl: Duration::from_secs(30),
        steered: vec![steered],
        records,
        networks: vec![("203.0.113.0/24".parse()?, paris)],
    };
    configuration.zones.insert(zone, declared);
    Ok(configuration)
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
