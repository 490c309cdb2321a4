//! The simulated fleet keeps its promises, and one seed gives one history: in two processes, byte for byte.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test: it fails by panicking, and its output is kept")]

use std::process::Command;

/// Runs one process and returns the line with the hash.
fn hash(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(["--seed", &seed.to_string()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    text.lines().last().unwrap().split(' ').next_back().unwrap().to_owned()
}

#[test]
fn a_black_hole_and_a_partition_are_survived_and_one_seed_gives_one_history() {
    let [first, second, other] = [7, 7, 8].map(hash);
    assert_eq!(first, second, "two processes with one seed differ");
    assert_ne!(first, other, "another seed makes no difference: the log does not see enough");
}
