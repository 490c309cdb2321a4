//! Outages of providers in one thread: a primary, a fallback, a node between them and clients that come at a steady rate,
//! with simulated time, sockets and randomness. No control plane: an outage is for the node alone to survive.
//!
//! The seed draws what strikes the primary, or both, how, when, for how long and for which share of the calls. What must
//! hold throughout and what must have held in the end stands in `promises.rs`; the bug that breaks each promise in
//! `bugs.rs`, for a test to see that it is caught.
//!
//! One seed always gives one log, in a process that has spawned no task before.

mod answer;
mod bugs;
mod eyes;
mod hosts;
mod load;
mod promises;
mod strike;

use std::time::Duration;

use meridian_testkit::EventLog;

pub use bugs::Bug;
pub use strike::Outage;

use self::eyes::Eyes;

/// Simulated time that a history may take: the longest outage, a return that is too late, and as much again.
const LIMIT: Duration = Duration::from_secs(240);
/// Links take this long, one way, as in one region.
const LATENCY: std::ops::Range<Duration> = Duration::from_millis(1)..Duration::from_millis(20);
/// Finer than any interval of ours, coarse enough to be fast.
const TICK: Duration = Duration::from_millis(5);
/// Segments that wait in a simulated socket.
const SOCKET_CAPACITY: usize = 1024;

/// What is played.
#[derive(Debug, Clone)]
pub struct Play {
    seed: u64,
    outage: Outage,
    bug: Option<Bug>,
}

impl Play {
    /// This outage; all else that is random is the seed's.
    #[must_use]
    pub fn of(seed: u64, outage: Outage) -> Self {
        Self { seed, outage, bug: None }
    }

    /// The outage that the seed draws.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        Self::of(seed, Outage::draw(seed))
    }

    /// The same, by a node with a bug.
    #[must_use]
    pub fn with(self, bug: Bug) -> Self {
        Self { bug: Some(bug), ..self }
    }

    /// One line for each provider that is struck.
    #[must_use]
    pub fn schedule(&self) -> Vec<String> {
        self.outage.strikes().map(|(provider, strike)| format!("{provider} {strike}")).collect()
    }

    /// Plays it, telling `log` what happens.
    ///
    /// # Errors
    /// A promise was broken; the text says which, and the log says what came before.
    pub fn run(&self, log: &EventLog) -> anyhow::Result<()> {
        let seed = self.seed;
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .simulation_duration(LIMIT)
            .tick_duration(TICK)
            .min_message_latency(LATENCY.start)
            .max_message_latency(LATENCY.end)
            .tcp_capacity(SOCKET_CAPACITY)
            .enable_random_order()
            .build();
        let eyes = Eyes::new(log.clone(), self.bug);
        hosts::add(&mut sim, seed, &self.outage, &eyes);
        let (outage, clients) = (self.outage.clone(), eyes.clone());
        sim.client("clients", async move { load::play(seed, &outage, clients).await.map_err(Into::into) });
        loop {
            let finished = sim.step().map_err(|error| anyhow::anyhow!("seed {seed}: {error}"))?;
            if let Some(broken) = eyes.first_broken() {
                anyhow::bail!("seed {seed}: {broken}");
            }
            if finished {
                return Ok(());
            }
        }
    }
}
