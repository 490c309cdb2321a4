//! Outages of providers cost clients nothing that another provider could have given, whatever the seed draws; and one seed
//! gives one history: byte for byte, alone as after others.
//!
//! `MERIDIAN_SEEDS=60` plays more seeds. A seed that breaks a promise prints its schedule, its log and the command that
//! plays it again.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test: it fails by panicking, and its output is kept")]

use std::collections::BTreeSet;
use std::process::Command;

/// Seeds that are played when nobody asks for more: some twenty seconds of one core. `tests/full` plays 500.
const SEEDS: u64 = 12;
/// The first of them.
const FIRST: u64 = 100;
/// Of them, this one is played again, alone.
const AGAIN: u64 = 103;

/// Runs one process and returns its lines with hashes.
fn simulate(arguments: &[&str]) -> BTreeSet<String> {
    let command = env!("CARGO_BIN_EXE_simulate");
    let output = Command::new(command).arg("--outage").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter(|line| line.contains(" hash ")).map(str::to_owned).collect()
}

#[test]
fn the_promises_hold_through_the_outage_of_every_seed_and_each_gives_one_history() {
    let seeds = std::env::var("MERIDIAN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let played = simulate(&["--seed", &FIRST.to_string(), "--seeds", &seeds.to_string(), "--quiet"]);
    let hashes: BTreeSet<_> = played.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(hashes.len() as u64, seeds, "another seed makes no difference: the log does not see enough");
    let alone = simulate(&["--seed", &AGAIN.to_string(), "--quiet"]);
    assert!(alone.is_subset(&played) && !alone.is_empty(), "alone {alone:?}, after others {played:?}");
}
