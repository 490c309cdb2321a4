//! Fuzzing on stable Rust: a seeded mutator over a small corpus, and a function that must take whatever it gets.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Changes to one input at most: enough to get past a length and into what it measures.
const MAX_CHANGES: u32 = 6;
/// Inputs do not grow beyond this; larger ones only cost time.
const MAX_BYTES: usize = 64 * 1024;
/// Numbers at the borders of what lengths, varints and texts can say.
const BORDERS: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'-', b'0'];

/// Gives `target` as many inputs made from `corpus` as `rounds` says, or `MERIDIAN_FUZZ_ROUNDS`; each from the number of its
/// round alone. What the target returns does not matter; that it returns does. Prints how long it took.
///
/// # Panics
/// The target panicked: the message names the round and shows the input.
#[expect(clippy::print_stdout, reason = "it is for who runs the test, and shown only where output is asked for")]
pub fn fuzz(name: &str, rounds: u64, corpus: &[Vec<u8>], target: impl Fn(&[u8])) {
    let asked = std::env::var("MERIDIAN_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = asked.unwrap_or(rounds);
    let began = tokio::time::Instant::now();
    for round in 0..rounds {
        let input = mutated(corpus, round);
        let survived = catch_unwind(AssertUnwindSafe(|| target(&input))).is_ok();
        assert!(survived, "{name} panicked in round {round} on {}", hex::encode(&input));
    }
    println!("{name}: {rounds} inputs in {:.1} s", began.elapsed().as_secs_f64());
}

/// The input of one round.
fn mutated(corpus: &[Vec<u8>], round: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(round);
    let mut input = pick(corpus, &mut random).to_vec();
    for _ in 0..random.random_range(1..=MAX_CHANGES) {
        change(&mut input, pick(corpus, &mut random), &mut random);
    }
    input.truncate(MAX_BYTES);
    input
}

fn pick<'a>(corpus: &'a [Vec<u8>], random: &mut StdRng) -> &'a [u8] {
    let index = random.random_range(0..corpus.len().max(1));
    corpus.get(index).map_or(&[], Vec::as_slice)
}

fn change(input: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    let length = random.random_range(0..=16).min(input.len() - at);
    match random.random_range(0..8) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..at + length)),
        2 => {
            let again: Vec<u8> = input.iter().skip(at).take(length).copied().collect();
            input.splice(at..at, again);
        }
        3 => {
            let from = random.random_range(0..=other.len());
            input.splice(at.., other.iter().skip(from).copied());
        }
        4 => {
            let mut noise = [0; 4];
            random.fill_bytes(&mut noise);
            input.splice(at..at + length.min(noise.len()), noise);
        }
        5 => {
            if let (Some(byte), Some(border)) = (input.get_mut(at), BORDERS.get(random.random_range(0..BORDERS.len())))
            {
                *byte = *border;
            }
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_gives_one_input_and_rounds_differ() {
        let corpus = [b"first of the corpus".to_vec(), b"second".to_vec()];
        let inputs: std::collections::BTreeSet<_> = (0..500).map(|round| mutated(&corpus, round)).collect();
        assert_eq!(mutated(&corpus, 7), mutated(&corpus, 7));
        assert!(inputs.len() > 400, "{}", inputs.len());
    }

    #[test]
    #[should_panic(expected = "picky panicked in round")]
    fn a_target_that_panics_is_told_with_its_round() {
        fuzz("picky", 1_000, &[b"good".to_vec()], |input| assert!(input.starts_with(b"g")));
    }

    #[test]
    fn an_empty_corpus_is_fuzzed_too() {
        fuzz("anything", 1_000, &[], |input| assert!(input.len() <= MAX_BYTES));
    }
}
