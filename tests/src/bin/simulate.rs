//! Plays the history of one seed and prints its schedule, its log and the log's hash: `simulate --seed 7`.
//!
//! Of several seeds each has a process of its own, so that what it prints does not depend on which came before: tokio
//! numbers the tasks of a whole process, and these numbers decide in which order the tasks of a crashed host end, and so
//! in which order its connections do.

use std::process::{Command, ExitCode};

use clap::Parser;
use meridian_testkit::EventLog;
use meridian_tests::{outage, simulation};

#[derive(Parser)]
struct Arguments {
    /// Determines everything that happens.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to play, from `--seed` on.
    #[arg(long)]
    seeds: Option<u64>,
    /// Tell the story instead of the seed's own faults.
    #[arg(long)]
    story: bool,
    /// Play an outage of providers instead of the fleet.
    #[arg(long, conflicts_with = "story")]
    outage: bool,
    /// Only the hashes, unless a promise is broken.
    #[arg(long)]
    quiet: bool,
}

impl Arguments {
    /// What is played instead of the fleet's faults.
    fn history(&self) -> Option<&'static str> {
        self.story.then_some("--story").or(self.outage.then_some("--outage"))
    }

    /// What is to come, and how it went.
    fn play(&self, log: &EventLog) -> (Vec<String>, anyhow::Result<()>) {
        if self.outage {
            let play = outage::Play::drawn(self.seed);
            return (play.schedule(), play.run(log));
        }
        let play = if self.story { simulation::Play::story(self.seed) } else { simulation::Play::storm(self.seed) };
        (play.schedule(), play.run(log))
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.seeds {
        Some(seeds) => play_each(&arguments, seeds),
        None => Ok(play(&arguments)),
    }
}

#[expect(clippy::print_stdout, reason = "the output is what this program is for")]
fn play_each(arguments: &Arguments, seeds: u64) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe()?;
    let mut broken = Vec::new();
    for seed in arguments.seed..arguments.seed.saturating_add(seeds) {
        let mut alone = Command::new(&program);
        alone.args(["--seed", &seed.to_string()]);
        alone.args(arguments.history()).args(arguments.quiet.then_some("--quiet"));
        if !alone.status()?.success() {
            broken.push(seed);
        }
    }
    println!("{seeds} histories, {} of them with a broken promise", broken.len());
    anyhow::ensure!(broken.is_empty(), "promises were broken with the seeds {broken:?}");
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the output is what this program is for")]
fn play(arguments: &Arguments) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let seed = arguments.seed;
    let log = EventLog::default();
    let (schedule, outcome) = arguments.play(&log);
    if !arguments.quiet || outcome.is_err() {
        schedule.into_iter().chain(log.lines()).for_each(|line| println!("{line}"));
    }
    println!("seed {seed} hash {}", log.hash());
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let history = arguments.history().map(|history| format!(" {history}")).unwrap_or_default();
    println!(
        "{error:#}; again: cargo run --profile ci --package meridian-tests --bin simulate -- --seed {seed}{history}"
    );
    ExitCode::FAILURE
}
