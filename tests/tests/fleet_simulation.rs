//! The simulated fleet keeps its promises, and one seed gives one history: in two processes, byte for byte.
//!
//! `MERIDIAN_SEEDS=60` plays more seeds. A seed that breaks a promise prints its schedule, its log and the command that
//! plays it again.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test: it fails by panicking, and its output is kept")]

use std::process::Command;

/// Seeds that are played when nobody asks for more: about two seconds of one core each.
const SEEDS: u64 = 12;

/// Runs one process and returns its last line with a hash.
fn simulate(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().rfind(|line| line.contains(" hash ")).unwrap().to_owned()
}

#[test]
fn a_black_hole_and_a_partition_are_survived_and_dns_follows() {
    simulate(&["--story", "--seed", "7"]);
}

#[test]
fn one_seed_gives_one_history_and_another_seed_another() {
    let [first, second, other] = ["1", "1", "2"].map(|seed| simulate(&["--seed", seed]));
    let hash = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
    assert_eq!(hash(&first), hash(&second), "two processes with one seed differ");
    assert_ne!(hash(&first), hash(&other), "another seed makes no difference: the log does not see enough");
}

#[test]
fn the_promises_hold_through_the_faults_of_every_seed() {
    let seeds = std::env::var("MERIDIAN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    simulate(&["--seed", "100", "--seeds", &seeds.to_string(), "--quiet"]);
}
