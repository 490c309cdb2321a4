//! How a simulator behaves when no fault is asked for, and its limits.

use std::time::Duration;

/// Settings of a [`Simulator`](crate::Simulator).
#[derive(Clone, Debug)]
pub struct Options {
    /// Tokens of an answer when the request does not say (`x-sim-tokens`, or `tokens=N` in the last user message).
    pub tokens: u32,
    /// From the request to the first token.
    pub first_token: Duration,
    /// Between two tokens.
    pub gap: Duration,
    /// Seed of everything random: ids and faults with a probability. Two simulators with one seed and the same order of
    /// requests behave the same.
    pub seed: u64,
    /// Models that `GET /v1/models` lists. Any model name is answered, listed or not, so that tests can invent names.
    pub models: Vec<String>,
    /// API keys that are accepted; empty means any non-empty key.
    pub keys: Vec<String>,
    /// Requests kept by `GET /sim/requests`.
    pub log_entries: usize,
    /// Bytes of each request's body kept there.
    pub log_body_bytes: usize,
    /// Connections open at once; more wait in the listener's backlog.
    pub max_connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: 24,
            // Near what a small hosted model shows, yet quick enough that a person trying it sees a stream and not a wait.
            first_token: Duration::from_millis(80),
            gap: Duration::from_millis(15),
            seed: 1,
            models: ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "claude-haiku-4-5"].map(String::from).to_vec(),
            keys: Vec::new(),
            // At most 16 MiB of bodies.
            log_entries: 1024,
            log_body_bytes: 16 * 1024,
            // 1,000 streams from each of three regions, and room for the tests' own calls.
            max_connections: 4096,
        }
    }
}

impl Options {
    /// No delays at all: for tests of content.
    #[must_use]
    pub fn instant() -> Self {
        Self { first_token: Duration::ZERO, gap: Duration::ZERO, ..Self::default() }
    }
}
