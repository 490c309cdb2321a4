//! Location by a database: a small one made for the purpose, and a real one if `MERIDIAN_TEST_GEO_DB` names it.

use std::path::Path;
use std::sync::Arc;

use hickory_proto::rr::RecordType;
use meridian_dns::{GeoDatabase, GeoError, Snapshot, Transport, answer};
use meridian_host::DiskFiles;

use crate::world::{EU, NOWHERE, Query, answered, inputs, plan, raw_option, shares, zone};

const SUBNET: u16 = 8;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn located_by(database: GeoDatabase) -> Snapshot {
    let mut zone = zone();
    zone.networks.retain(|(network, _)| network.to_string() == "203.0.113.0/24");
    zone.networks[0].1 = meridian_types::Coordinates::new(1.0, 104.0).unwrap();
    let mut inputs = inputs(zone, Some(plan()));
    inputs.geo = Some(Arc::new(database));
    Snapshot::compile(inputs, None)
}

/// First address and scope.
fn ask(snapshot: &Snapshot, network: &str) -> (String, u8) {
    let query = Query::new("api", RecordType::A).subnet(network);
    let bytes = answer(snapshot, &query.bytes(), NOWHERE, Transport::Udp).expect("an answer");
    let first = answered(&query.ask(snapshot)).swap_remove(0);
    (first, raw_option(&bytes, SUBNET).expect("a subnet")[3])
}

#[test]
fn the_database_locates_and_its_block_is_the_scope() {
    let snapshot = located_by(GeoDatabase::from_bytes(fixture("geo.mmdb")).unwrap());
    let check = |network: &str, first: &str, scope: u8| {
        assert_eq!(ask(&snapshot, network), (first.to_owned(), scope), "{network}");
    };
    check("198.51.100.0/24", "192.0.2.1", 24);
    // The database knows more than the zone's own networks, and is asked first.
    check("203.0.113.0/24", "192.0.2.2", 20);
    check("203.0.112.0/32", "192.0.2.2", 20);
    check("2001:db8:65::/48", "192.0.2.3", 40);
    // Known, but not where; and not known at all: by hash, so for the unit.
    assert_eq!(ask(&snapshot, "192.0.2.0/24").1, 24);
    assert_eq!(ask(&snapshot, "198.18.0.0/24").1, 24);
}

#[test]
fn a_place_whose_clients_are_spread_has_the_scope_of_the_unit() {
    let mut split = plan();
    split.regions.get_mut(EU).unwrap().placement = shares(&[("eu-west", 500), ("us-west", 500)]);
    let mut inputs = inputs(zone(), Some(split));
    inputs.geo = Some(Arc::new(GeoDatabase::from_bytes(fixture("geo.mmdb")).unwrap()));
    let snapshot = Snapshot::compile(inputs, None);
    assert_eq!(ask(&snapshot, "203.0.113.0/24").1, 24);
    assert_eq!(ask(&snapshot, "198.51.100.0/24").1, 24);
}

#[test]
fn damaged_and_useless_files_are_refused() {
    let good = fixture("geo.mmdb");
    assert!(matches!(GeoDatabase::from_bytes(Vec::new()), Err(GeoError::Damaged(_))));
    assert!(matches!(GeoDatabase::from_bytes(good[..good.len() / 2].to_vec()), Err(GeoError::Damaged(_))));
    assert!(matches!(GeoDatabase::from_bytes(good[200..].to_vec()), Err(GeoError::Damaged(_))));
    assert!(
        matches!(GeoDatabase::from_bytes(fixture("countries.mmdb")), Err(GeoError::NoCoordinates(kind)) if kind == "Meridian-Test-Country")
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_said_to_be_unreadable() {
    let loaded = GeoDatabase::load(&DiskFiles, Path::new("/nonexistent.mmdb")).await;
    assert!(matches!(loaded, Err(GeoError::Read(_))));
}

#[tokio::test]
async fn a_real_database_steers_the_continents() {
    let Some(path) = std::env::var_os("MERIDIAN_TEST_GEO_DB") else {
        println!("MERIDIAN_TEST_GEO_DB names no database: not run");
        return;
    };
    let database = GeoDatabase::load(&DiskFiles, Path::new(&path)).await.unwrap();
    println!("{database:?}");
    let snapshot = located_by(database);
    let check = |network: &str, first: &str| {
        let (found, scope) = ask(&snapshot, network);
        assert_eq!(found, first, "{network}");
        assert!((1..=24).contains(&scope), "{network} {scope}");
    };
    // University networks do not move: Berkeley, Stanford, Cambridge, ETH Zurich, NUS.
    check("128.32.0.0/24", "192.0.2.1");
    check("171.64.0.0/24", "192.0.2.1");
    check("131.111.0.0/24", "192.0.2.2");
    check("129.132.0.0/24", "192.0.2.2");
    check("137.132.0.0/24", "192.0.2.3");
}
