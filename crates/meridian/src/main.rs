//! The `meridian` binary: parse, then run a role or a verb. Exit codes: 0 done, 1 refused, failed or different, 2 wrong
//! usage.

mod cli;
mod connection;
mod failure;
mod format;
mod output;
mod roles;
mod verbs;

use std::process::ExitCode;

use cli::{Cli, Command};
use mimalloc::MiMalloc;

/// A node allocates some dozens of times for each request. This costs a little less with it than with glibc's allocator, and what
/// a load took is given back when it is over; `docs/measurements/proxy.md` has both.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::read();
    let outcome = match cli.command {
        Command::Role(role) => roles::run(role, cli.log),
        Command::Verb(verb) => verbs::run(verb, &cli.admin),
    };
    outcome.unwrap_or_else(|error| failure::report(&error))
}
