//! Seeded fuzzing of the packet path: the corpus' packets, bent in the ways that break parsers. `MERIDIAN_FUZZ_ROUNDS` and
//! `MERIDIAN_FUZZ_SEED` make a longer or another run.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::Message;
use meridian_dns::{GeoDatabase, Snapshot, Transport, answer};

use crate::world::{Query, inputs, plan, zone};

/// Some seconds in a debug build.
const ROUNDS: u64 = 1_000_000;
const MAX_PACKET: usize = 4096;
/// The largest amplification over UDP that BCP 140 puts up with, beyond what a small packet can ask for anyway.
const SMALL: usize = 512;

/// SplitMix64: the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let lines = include_str!("../data/corpus.txt").lines().filter(|line| !line.starts_with('#'));
    let hex = lines.map(|line| line.split(' ').next().unwrap());
    hex.map(|hex| (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect())
        .collect()
}

/// Values that mean something somewhere: pointers, label types, counts, types of records, option codes.
const TELLING: [u8; 16] = [0, 1, 2, 4, 8, 10, 11, 15, 16, 0x29, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF];

fn bend(packet: &mut Vec<u8>, corpus: &[Vec<u8>], numbers: &mut Numbers) {
    let at = numbers.below(packet.len());
    match numbers.below(8) {
        _ if packet.is_empty() => packet.push(numbers.next() as u8),
        0 => packet[at] ^= 1 << numbers.below(8),
        1 => packet[at] = TELLING[numbers.below(TELLING.len())],
        2 => packet[at] = packet[at].wrapping_add(numbers.next() as u8 % 5).wrapping_sub(2),
        3 => packet.truncate(at),
        4 => packet.insert(at, TELLING[numbers.below(TELLING.len())]),
        5 => drop(packet.remove(at)),
        6 => {
            // A piece of itself, twice.
            let piece = packet[at..packet.len().min(at + 1 + numbers.below(40))].to_vec();
            packet.splice(at..at, piece);
        }
        _ => {
            // The end of another packet.
            let other = &corpus[numbers.below(corpus.len())];
            packet.truncate(at);
            packet.extend_from_slice(&other[numbers.below(other.len())..]);
        }
    }
    packet.truncate(MAX_PACKET);
}

/// What every answer has to be, whatever was asked.
fn check(snapshot: &Snapshot, packet: &[u8], source: IpAddr) -> bool {
    let udp = answer(snapshot, packet, source, Transport::Udp);
    let tcp = answer(snapshot, packet, source, Transport::Tcp);
    assert_eq!(udp.is_some(), tcp.is_some());
    let (Some(udp), Some(tcp)) = (udp, tcp) else {
        assert!(packet.len() < 12 || packet[2] & 0x80 != 0, "silence is for half headers and for responses");
        return false;
    };
    assert!(udp.len() <= 1232 && (udp.len() <= SMALL || packet.len() > SMALL / 20));
    for reply in [&udp, &tcp] {
        assert_eq!(reply[..2], packet[..2]);
        assert!(reply[2] & 0x80 != 0, "QR");
        assert_eq!(reply[2] & 0x79, packet[2] & 0x79, "opcode and RD");
        assert_eq!(reply[3] & 0xF0, 0, "RA, Z, AD and CD");
        if let Err(error) = Message::from_vec(reply) {
            // dig sends family 0 to opt out, and BIND answers it, but the reader here does not know it.
            assert!(reply.windows(8).any(|option| option == [0, 8, 0, 4, 0, 0, 0, 0]), "{error}");
        }
        // A server that is sent its own answer keeps silent: there is no loop.
        assert_eq!(answer(snapshot, reply, source, Transport::Udp), None);
    }
    // The same again is the same again.
    assert_eq!(answer(snapshot, packet, source, Transport::Udp), Some(udp));
    true
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn bent_packets_are_answered_soundly_or_not_at_all() {
    let mut zone = zone();
    for steered in &mut zone.steered {
        let binding: meridian_types::record::ServiceBinding = "1 . alpn=h2".parse().unwrap();
        steered.https = Some(binding.parameters);
    }
    let mut inputs = inputs(zone, Some(plan()));
    inputs.geo = Some(Arc::new(GeoDatabase::from_bytes(include_bytes!("../data/geo.mmdb").to_vec()).unwrap()));
    let snapshot = Snapshot::compile(inputs, None);
    let corpus = corpus();
    assert!(corpus.len() > 100);
    let seed = setting("MERIDIAN_FUZZ_SEED", 7871);
    let mut numbers = Numbers(seed);
    let mut answered = 0u64;
    let rounds = setting("MERIDIAN_FUZZ_ROUNDS", ROUNDS);
    for round in 0..rounds {
        let mut packet = corpus[numbers.below(corpus.len())].clone();
        for _ in 0..numbers.below(6) {
            bend(&mut packet, &corpus, &mut numbers);
        }
        let source = IpAddr::from((numbers.next() as u32).to_be_bytes());
        let sound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&snapshot, &packet, source)));
        let hex = || packet.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        answered += u64::from(sound.unwrap_or_else(|_| panic!("seed {seed}, round {round}: {} from {source}", hex())));
    }
    println!("{answered} of {rounds} packets answered");
    assert!(answered > rounds / 2, "{answered}");
}

#[test]
fn the_corpus_holds_what_the_suite_asks() {
    let plain = Query { id: 0xBEEF, ..Query::new("www", hickory_proto::rr::RecordType::A) };
    assert!(corpus().contains(&plain.bytes()));
}
