//! `meridian sim`: the provider simulator alone.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use meridian_sim::{Options, Simulator};

use super::Process;

/// A simulated stream is a second or two long.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// Where it serves HTTP/1.1. It has no authentication: never a public address.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4010")]
    listen: SocketAddr,
    /// Tokens of an answer.
    #[arg(long, default_value_t = Options::default().tokens)]
    tokens: u32,
    /// From a request to its first token.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "80ms")]
    first_token: Duration,
    /// Between two tokens.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "15ms")]
    gap: Duration,
    /// Seed of everything random.
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
}

pub(crate) async fn run(args: SimArgs, process: Process) -> anyhow::Result<()> {
    let listener = process.host.net.listen(args.listen).await.with_context(|| format!("listen on {}", args.listen))?;
    let address = listener.local_addr().context("ask for the address")?;
    let options = Options {
        tokens: args.tokens,
        first_token: args.first_token,
        gap: args.gap,
        seed: args.seed,
        ..Options::default()
    };
    let simulator = Simulator::new(options, process.host.clock.clone());
    tracing::info!(%address, "simulator serves");
    process.stop_on_signals(GRACE);
    simulator.serve(listener, process.shutdown).await.context("serve")
}
