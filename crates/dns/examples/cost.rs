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
use meridian_types::CommitId;
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
    let snapshot = Snapshot::compile(inputs, Some(&first));
    println!("plan compiled in {:.3} ms", begun.elapsed().as_secs_f64() * 1e3);
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
