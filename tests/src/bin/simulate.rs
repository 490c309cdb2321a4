//! Plays the history of one seed and prints its schedule, its log and the log's hash: `simulate --seed 7`.

use clap::Parser;
use meridian_testkit::EventLog;
use meridian_tests::simulation::Play;

#[derive(Parser)]
struct Arguments {
    /// Determines everything that happens.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to play, from `--seed` on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Tell the story instead of the seed's own faults.
    #[arg(long)]
    story: bool,
    /// Only the hashes, unless a promise is broken.
    #[arg(long)]
    quiet: bool,
}

#[expect(clippy::print_stdout, reason = "the output is what this program is for")]
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let mut failed = Vec::new();
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        let play = if arguments.story { Play::story(seed) } else { Play::storm(seed) };
        let log = EventLog::default();
        let outcome = play.run(&log);
        if !arguments.quiet || outcome.is_err() {
            play.schedule().into_iter().chain(log.lines()).for_each(|line| println!("{line}"));
        }
        println!("seed {seed} hash {}", log.hash());
        if let Err(error) = outcome {
            let story = if arguments.story { " --story" } else { "" };
            println!("{error:#}; again: cargo run --profile ci --package meridian-tests -- --seed {seed}{story}");
            failed.push(seed);
        }
    }
    let [played, broken] = [arguments.seeds, failed.len() as u64];
    println!("{played} histories, {broken} of them with a broken promise");
    anyhow::ensure!(failed.is_empty(), "promises were broken with the seeds {failed:?}");
    Ok(())
}
