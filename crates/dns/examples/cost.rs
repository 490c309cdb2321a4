//! What an answer costs without sockets, in microseconds of one core:
//!
//! ```text
//! cargo run --release -p meridian-dns --example cost [GEO_DATABASE]
//! ```

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

#[path = "support/fleet.rs"]
mod fleet;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use meridian_dns::{GeoDatabase, Inputs, Snapshot, Transport, answer};
use meridian_types::zone::{Policy, SteeredName};
use meridian_types::{CommitId, Configuration, Coordinates, Plan, Region, RegionName, RegionPlan};
use tokio::time::Instant;

const ROUNDS: u32 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let geo = match std::env::args_os().nth(1) {
        Some(path) => {
            let begun = Instant::now();
            let database = GeoDatabase::from_bytes(std::fs::read(path)?)?;
            println!("database checked and compiled in {:.2} s: {database:?}", begun.elapsed().as_secs_f64());
            Some(Arc::new(database))
        }
        None => None,
    };
    let inputs = Inputs {
        commit: CommitId(1),
        configuration: Arc::new(fleet::configuration()?),
        plan: Some(Arc::new(fleet::plan()?)),
        geo,
        ..Inputs::default()
    };
    let begun = Instant::now();
    let first = Snapshot::compile(inputs.clone(), None);
    println!("configuration compiled in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    let begun = Instant::now();
    let snapshot = Snapshot::compile(inputs.clone(), Some(&first));
    println!("plan compiled in {:.3} ms", begun.elapsed().as_secs_f64() * 1e3);
    for (what, are_alike) in [("100 names alike", true), ("100 names that differ", false)] {
        let (configuration, plan) = large(are_alike)?;
        let inputs = Inputs { configuration: Arc::new(configuration), plan: Some(Arc::new(plan)), ..inputs.clone() };
        let begun = Instant::now();
        let first = Snapshot::compile(inputs.clone(), None);
        let configured = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let second = Snapshot::compile(inputs, Some(&first));
        let planned = begun.elapsed().as_secs_f64() * 1e3;
        println!("20 regions, 10 addresses each, {what}: configuration in {configured:.2} s, plan in {planned:.1} ms");
        println!("  {} kB of answers ready, {} names without", second.ready_bytes() / 1000, second.unready_names());
    }
    let source = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    for (what, labels, with_subnet) in [
        ("steered, random subnets", "api.gslb.example", true),
        ("steered, no subnet", "api.gslb.example", false),
        ("alias to it", "steered-alias.gslb.example", true),
        ("static", "ns1.gslb.example", false),
        ("no such name", "none.gslb.example", false),
        ("not ours", "www.example", false),
    ] {
        let mut packet = query(labels, with_subnet);
        let subnet = packet.len().saturating_sub(3);
        let begun = Instant::now();
        let mut bytes = 0usize;
        for round in 0..ROUNDS {
            if with_subnet && let Some(place) = packet.get_mut(subnet..) {
                // A walk through the unicast networks that misses none for long.
                let [_, a, b, c] = (round.wrapping_mul(0x9E37_79B1) >> 8).to_be_bytes();
                place.copy_from_slice(&[a % 223 + 1, b, c]);
            }
            bytes += answer(&snapshot, &packet, source, Transport::Udp).map_or(0, |out| out.len());
        }
        let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
        println!("{each:6.3} us  {what} ({} bytes on average)", bytes / ROUNDS as usize);
    }
    Ok(())
}

/// A fleet as large as any, and a plan that sends a part of each region's clients to another one. A third of the names
/// each is answered by distance, by weight and by order, from all regions or, if they differ, from ten each.
fn large(are_alike: bool) -> Result<(Configuration, Plan), Box<dyn Error>> {
    let (mut configuration, mut plan) = (fleet::configuration()?, fleet::plan()?);
    let (declared, planned) = (configuration.regions.pop_first(), plan.regions.pop_first());
    let (Some((_, declared)), Some((_, planned))) = (declared, planned) else { return Err("no region".into()) };
    configuration.regions.clear();
    plan.regions.clear();
    let name = |i: u8| RegionName::new(&format!("region-{i}"));
    for i in 0..20u8 {
        let (latitude, longitude) = (f64::from(i % 5) * 25.0 - 45.0, f64::from(i) * 18.0 - 171.0);
        let coordinates = Coordinates::new(latitude, longitude).ok_or("coordinates")?;
        configuration.regions.insert(name(i)?, Region { name: name(i)?, coordinates, ..declared.clone() });
        let addresses = (1..=10).map(|last| [192, 0, i, last].into()).collect();
        let placement = [(name(i)?, 800), (name((i + 1) % 20)?, 200)].into();
        plan.regions
            .insert(name(i)?, RegionPlan { addresses, placement, weight: 50, target_weight: 50, ..planned.clone() });
    }
    let regions: Vec<RegionName> = configuration.regions.keys().cloned().collect();
    let zone = configuration.zones.values_mut().next().ok_or("no zone")?;
    let first = zone.steered.pop().ok_or("no name")?;
    for i in 0..100usize {
        let mut steered = SteeredName { name: zone.name.child(&format!("api{i}"))?, ..first.clone() };
        steered.policy =
            [Policy::Nearest, Policy::Weighted, Policy::Failover].into_iter().cycle().nth(i).ok_or("policy")?;
        let some = regions.iter().cycle().skip(i * 7).step_by(1 + 2 * (i % 2)).take(10);
        steered.regions = if are_alike { regions.clone() } else { some.cloned().collect() };
        zone.steered.push(steered);
    }
    Ok((configuration, plan))
}

fn query(name: &str, with_subnet: bool) -> Vec<u8> {
    let mut packet = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(with_subnet)];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    if with_subnet {
        packet.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 0, 0, 0]);
    }
    packet
}
