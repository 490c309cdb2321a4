//! Asks an authority as fast as it answers, for the same name or with a random client subnet each time, and says how many
//! answers came:
//!
//! ```text
//! cargo run --release -p meridian-dns --example load ADDRESS NAME SECONDS [subnets]
//! ```

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use meridian_host::{Batch, Host};
use tokio::time::{Instant, timeout};

/// Queries under way: what keeps any server busy and overflows no socket's buffer.
const WINDOW: usize = 96;
const BATCH: usize = 32;
/// After that a query counts as lost and another one is sent for it.
const LOST: Duration = Duration::from_millis(100);
const MAX_MESSAGE: usize = 1500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(to), Some(name), Some(seconds)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("load ADDRESS NAME SECONDS [subnets]".into());
    };
    let with_subnets = arguments.next().is_some();
    let to: SocketAddr = to.parse()?;
    let socket = Host::real().net.datagram("127.0.0.1:0".parse()?).await?;
    let (mut queries, mut answers) = (Batch::new(BATCH, MAX_MESSAGE), Batch::new(BATCH, MAX_MESSAGE));
    let mut query = packet(&name, with_subnets);
    let (mut sent, mut answered, mut empty, mut under_way) = (0u32, 0u64, 0u64, 0usize);
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    while Instant::now() < end {
        queries.clear();
        for _ in 0..BATCH.min(WINDOW.saturating_sub(under_way)) {
            sent = sent.wrapping_add(1);
            stamp(&mut query, sent, with_subnets);
            queries.push(&query, to);
            under_way += 1;
        }
        if !queries.is_empty() {
            socket.send_batch(&queries).await?;
        }
        match timeout(LOST, socket.recv_batch(&mut answers)).await {
            Ok(received) => received?,
            Err(_) => {
                under_way = 0;
                continue;
            }
        }
        for (answer, _) in answers.iter() {
            answered += 1;
            under_way = under_way.saturating_sub(1);
            empty += u64::from(answer.get(6..8) == Some(&[0, 0]));
        }
    }
    println!("{answered} {empty}");
    Ok(())
}

/// Another id and, if wanted, another network of those that are in use.
fn stamp(query: &mut [u8], number: u32, with_subnet: bool) {
    let [_, _, high, low] = number.to_be_bytes();
    if let Some(id) = query.get_mut(..2) {
        id.copy_from_slice(&[high, low]);
    }
    let octets = query.len().saturating_sub(3);
    if with_subnet && let Some(place) = query.get_mut(octets..) {
        let [a, b, c, _] = number.wrapping_mul(0x9E37_79B1).to_be_bytes();
        place.copy_from_slice(&[a % 223 + 1, b, c]);
    }
}

fn packet(name: &str, with_subnet: bool) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(with_subnet)];
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
