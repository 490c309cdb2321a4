//! Location by a database: a small one made for the purpose, and a real one, which `tests/run` brings.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::rr::RecordType;
use meridian_dns::{GeoDatabase, GeoError, Options, Service, Snapshot, Transport, answer};
use meridian_host::{DiskFiles, Files, Host, Stamp, SystemClock, WallClock};
use meridian_types::CommitId;
use meridian_types::zone::ClientPlace;
use prometheus_client::registry::Registry;

use crate::world::{AP, EU, NOWHERE, Query, answered, configuration, inputs, plan, raw_option, region, shares, zone};

const SUBNET: u16 = 8;
const PATIENCE_MS: i64 = 30_000;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn located_by(database: GeoDatabase) -> Snapshot {
    let mut zone = zone();
    zone.networks.retain(|(network, _)| network.to_string() == "203.0.113.0/24");
    zone.networks[0].1 = ClientPlace::Region(region(AP));
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
    // The zone's own networks know better than the database, whose block then is no block any more.
    check("203.0.113.0/24", "192.0.2.3", 24);
    check("203.0.112.0/32", "192.0.2.2", 24);
    check("203.0.114.0/24", "192.0.2.2", 23);
    check("203.0.120.0/24", "192.0.2.2", 21);
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
#[ignore = "needs a real database: tests/run names one in MERIDIAN_TEST_GEO_DB"]
async fn a_real_database_steers_the_continents() {
    let path = std::env::var_os("MERIDIAN_TEST_GEO_DB").expect("MERIDIAN_TEST_GEO_DB names a database");
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

/// Files that a test holds.
#[derive(Default)]
struct Held(std::sync::Mutex<(Vec<u8>, u128)>);

impl Held {
    fn write(&self, content: Vec<u8>) {
        let mut held = self.0.lock().unwrap();
        *held = (content, held.1 + 1);
    }
}

#[async_trait]
impl Files for Held {
    async fn read(&self, _: &Path) -> std::io::Result<Vec<u8>> {
        Ok(self.0.lock().unwrap().0.clone())
    }
    async fn stamp(&self, _: &Path) -> std::io::Result<Stamp> {
        let held = self.0.lock().unwrap();
        Ok(Stamp { length: held.0.len() as u64, written_unix_ns: held.1 })
    }
    async fn replace(&self, _: &Path, _: &[u8]) -> std::io::Result<()> {
        unreachable!()
    }
    async fn remove(&self, _: &Path) -> std::io::Result<()> {
        unreachable!()
    }
    async fn list(&self, _: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
        unreachable!()
    }
}

#[tokio::test]
async fn a_new_file_is_taken_up_without_a_pause_and_a_damaged_one_is_not() {
    let files = Arc::new(Held::default());
    let host = Host { files: files.clone(), ..Host::real() };
    let loopback = "127.0.0.1:0".parse().unwrap();
    let options = Options {
        udp: host.net.datagrams(loopback, 2).await.unwrap(),
        tcp: host.net.listen(loopback).await.unwrap(),
        geo: None,
        geo_file: Some(("geo.mmdb".into(), None)),
        node: "node-1".to_owned(),
        host,
        cookies: None,
        rate_limit: None,
        query_log_one_in: None,
    };
    let mut registry = Registry::default();
    let service = Service::new(options, &mut registry);
    let handle = service.handle();
    let mut zone = zone();
    zone.networks.clear();
    handle.update(CommitId(3), Arc::new(configuration(zone)), Some(Arc::new(plan())));
    let (_trigger, seen) = meridian_lifecycle::shutdown();
    tokio::spawn(service.run(seen));
    // Time is advanced by hand, because the check runs on a thread that paused time does not know.
    tokio::time::pause();
    let eventually = async |holds: &dyn Fn() -> bool| {
        let begun_unix_ms = SystemClock.now_unix_ms();
        while !holds() {
            assert!(SystemClock.now_unix_ms() < begun_unix_ms + PATIENCE_MS, "in time");
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
    };
    let is_located = || ask(&handle.snapshot(), "203.0.113.0/24").1 == 20;
    let metric = |line: &str| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.contains(&format!("meridian_dns_{line}\n"))
    };
    assert!(!is_located() && metric("geo_database_built_seconds 0"));
    files.write(fixture("geo.mmdb"));
    eventually(&is_located).await;
    files.write(fixture("geo.mmdb")[200..].to_vec());
    eventually(&|| metric("geo_databases_refused_total 1")).await;
    assert!(is_located() && !metric("geo_database_built_seconds 0"), "the old one stays");
}
