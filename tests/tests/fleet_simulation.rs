//! The simulated fleet keeps its promises, and one seed gives one history: byte for byte, alone as after others.
//!
//! `MERIDIAN_SEEDS=60` plays more seeds. A seed that breaks a promise prints its schedule, its log and the command that
//! plays it again.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test: it fails by panicking, and its output is kept")]

use std::collections::BTreeSet;
use std::process::Command;

/// Seeds that are played when nobody asks for more: some six seconds of one core each. `tests/full` plays 500.
const SEEDS: u64 = 12;
/// The first of them.
const FIRST: u64 = 100;
/// Of them, these are played again, alone: played after the others in one process, they came out otherwise.
const AGAIN: [u64; 2] = [103, 104];

/// Runs one process and returns its lines with hashes.
fn simulate(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter(|line| line.contains(" hash ")).map(str::to_owned).collect()
}

#[test]
fn a_black_hole_and_a_partition_are_survived_and_dns_follows() {
    simulate(&["--story", "--seed", "7"]);
}

#[test]
fn the_promises_hold_through_the_faults_of_every_seed_and_each_gives_one_history() {
    let seeds = std::env::var("MERIDIAN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let played = simulate(&["--seed", &FIRST.to_string(), "--seeds", &seeds.to_string(), "--quiet"]);
    let hashes: BTreeSet<_> = played.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(hashes.len() as u64, seeds, "another seed makes no difference: the log does not see enough");
    for seed in AGAIN.into_iter().filter(|seed| *seed < FIRST + seeds) {
        let alone = simulate(&["--seed", &seed.to_string(), "--quiet"]);
        assert!(alone.is_subset(&played) && !alone.is_empty(), "alone {alone:?}, after others {played:?}");
    }
}
