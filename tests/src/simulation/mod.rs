//! A fleet in one thread: three control replicas on a fake etcd of three members, nine nodes in three regions with DNS,
//! a provider, clients and an operator; simulated time, sockets and randomness.
//!
//! `storm` draws a schedule of faults from its seed, lets them come and go while clients ask and the operator
//! commits, and looks all the time at what must always hold; in the end everything must have come together.
//! `story` tells one history whose every step is known.
//!
//! One seed always gives one log, in a process that has spawned no task before: tokio hands out task ids process-wide,
//! and drops the tasks of a crashed host's runtime in an order that follows from their ids.

mod bugs;
mod client;
mod departed;
mod eyes;
mod fences;
mod fleet;
mod invariants;
mod operator;
mod pins;
mod planned;
mod rollouts;
mod schedule;
mod story;
mod weather;

use std::sync::Arc;
use std::time::Duration;

use meridian_testkit::EventLog;

pub use bugs::Bug;
pub use fleet::{Place, REGIONS, Wrap, cell};
pub use schedule::Schedule;

use self::eyes::{Eyes, Stage};
use self::invariants::Invariants;
use self::weather::Weather;

/// Simulated time that a history may take.
const LIMIT: Duration = Duration::from_secs(300);
/// Links take this long, one way, as between regions on one continent.
const LATENCY: std::ops::Range<Duration> = Duration::from_millis(1)..Duration::from_millis(40);
/// Finer than any interval of ours, coarse enough to be fast.
const TICK: Duration = Duration::from_millis(5);
/// The invariants are looked at after so many ticks, and faults begin and end then.
const LOOK_EVERY: u64 = 10;
/// Segments that wait in a simulated socket: a commit is sent in one go.
const SOCKET_CAPACITY: usize = 4096;

/// What is played.
#[derive(Clone)]
pub struct Play {
    seed: u64,
    /// `None`: the story.
    schedule: Option<Schedule>,
    wrap: Wrap,
    bug: Option<Bug>,
    place: Place,
}

impl Play {
    /// These faults; all else that is random is the seed's.
    #[must_use]
    pub fn of(seed: u64, schedule: Schedule) -> Self {
        Self { seed, schedule: Some(schedule), wrap: Arc::new(|store| store), place: cell, bug: None }
    }

    /// The faults that the seed draws.
    #[must_use]
    pub fn storm(seed: u64) -> Self {
        Self::of(seed, Schedule::draw(seed))
    }

    /// The story of a region that vanishes and one that loses control.
    #[must_use]
    pub fn story(seed: u64) -> Self {
        Self { schedule: None, ..Self::storm(seed) }
    }

    /// The same, by nodes with a bug.
    #[must_use]
    pub fn with(self, bug: Bug) -> Self {
        Self { bug: Some(bug), ..self }
    }

    /// Puts something between each replica and its store.
    #[must_use]
    pub fn over(self, wrap: Wrap) -> Self {
        Self { wrap, ..self }
    }

    /// Lets nodes say that they are in other cells than they are.
    #[must_use]
    pub fn placed(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// One line for each fault to come.
    #[must_use]
    pub fn schedule(&self) -> Vec<String> {
        let Some(schedule) = &self.schedule else { return Vec::new() };
        let restore = schedule.restore.then(|| "then the store is restored from a backup".to_owned());
        schedule.episodes.iter().map(ToString::to_string).chain(restore).collect()
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
            .udp_capacity(SOCKET_CAPACITY)
            .enable_random_order()
            .build();
        let eyes = Eyes::new(seed, log.clone(), self.bug);
        fleet::add(&mut sim, seed, &eyes, &self.wrap, self.place);
        let (operator, client) = (eyes.clone(), eyes.clone());
        let is_story = self.schedule.is_none();
        sim.client("operator", async move {
            let played =
                if is_story { story::play(seed, operator).await } else { operator::play(seed, operator).await };
            played.map_err(|error| format!("{error:#}").into())
        });
        let fenced = eyes.clone();
        sim.client("fenced", async move { fences::play(seed, fenced).await.map_err(Into::into) });
        sim.client("client", async move { client::play(seed, client).await.map_err(Into::into) });
        let mut weather = Weather::new(self.schedule.clone().unwrap_or_default());
        let mut invariants = Invariants::new();
        for tick in 0.. {
            eyes.set_time(sim.elapsed());
            if tick % LOOK_EVERY == 0 {
                invariants.look(&eyes, &weather.active());
                weather.advance(&mut sim, &eyes);
                if let Some(broken) = eyes.first_broken() {
                    anyhow::bail!("seed {seed}: {broken}");
                }
            }
            let finished = sim.step().map_err(|error| anyhow::anyhow!("seed {seed}: {error}"))?;
            if finished && eyes.stage() == Stage::Done {
                break;
            }
        }
        Ok(())
    }
}
