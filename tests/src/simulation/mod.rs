//! A small fleet in one thread: control plane, three nodes with DNS, a provider; simulated time, sockets, randomness.
//!
//! [`run`] plays one history: the fleet comes up, a region vanishes into a black hole and comes back, another is cut
//! from the control plane and serves on. What happened is in the [`EventLog`], and one seed always gives one log.

mod client;
mod fleet;
mod history;

use std::time::Duration;

use meridian_testkit::EventLog;

pub use fleet::REGIONS;

/// Simulated time that a history may take.
const LIMIT: Duration = Duration::from_secs(180);
/// Links take this long, one way, as between regions on one continent.
const LATENCY: std::ops::Range<Duration> = Duration::from_millis(1)..Duration::from_millis(40);
/// Finer than any interval of ours, coarse enough to be fast.
const TICK: Duration = Duration::from_millis(5);
/// Segments that wait in a simulated socket: a commit is sent in one go.
const SOCKET_CAPACITY: usize = 4096;

/// Plays the history of `seed`.
///
/// # Errors
/// A promise was broken; the text says which, and the log says what came before.
pub fn run(seed: u64, log: &EventLog) -> anyhow::Result<()> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(LIMIT)
        .tick_duration(TICK)
        .min_message_latency(LATENCY.start)
        .max_message_latency(LATENCY.end)
        .tcp_capacity(SOCKET_CAPACITY)
        .udp_capacity(SOCKET_CAPACITY)
        .enable_random_order()
        .build();
    fleet::add(&mut sim, seed);
    let events = log.clone();
    sim.client("operator", async move { history::play(seed, &events).await.map_err(Into::into) });
    sim.run().map_err(|error| anyhow::anyhow!("seed {seed}: {error:?}"))
}
