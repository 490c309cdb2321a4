//! Plays the history of one seed and prints its log and the log's hash: `simulate --seed 7`.

use clap::Parser;
use meridian_testkit::EventLog;
use meridian_tests::simulation;

#[derive(Parser)]
struct Arguments {
    /// Determines everything that happens.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to play, from `--seed` on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Only the hashes.
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
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        let log = EventLog::default();
        let outcome = simulation::run(seed, &log);
        if !arguments.quiet || outcome.is_err() {
            for line in log.lines() {
                println!("{line}");
            }
        }
        println!("seed {seed} hash {}", log.hash());
        outcome?;
    }
    Ok(())
}
