//! Measures the control plane: `bench_control` prints the figures and fails where one is over twice its target.

use clap::Parser;
use meridian_tests::bench_control;

#[derive(Parser)]
struct Arguments {
    /// Be the control plane that is measured, with its store in this directory, on this port of the loopback.
    #[arg(long, value_name = "DIR", requires = "port")]
    serve: Option<std::path::PathBuf>,
    #[arg(long)]
    port: Option<u16>,
    /// Simulated nodes.
    #[arg(long, default_value_t = 200)]
    nodes: usize,
    /// Commits, after the first.
    #[arg(long, default_value_t = 20)]
    commits: u64,
    /// Streams that come back after a restart of the control plane.
    #[arg(long, default_value_t = 500)]
    reconnects: usize,
}

#[expect(clippy::print_stdout, reason = "the output is what this program is for")]
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some((dir, port)) = arguments.serve.zip(arguments.port) {
        return runtime.block_on(bench_control::serve(&dir, port));
    }
    let Arguments { nodes, commits, reconnects, .. } = arguments;
    let figures = runtime.block_on(bench_control::measure(nodes, commits, reconnects))?;
    println!("{figures}");
    figures.check()
}
