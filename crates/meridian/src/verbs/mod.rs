//! What operators do. A verb is short: connect, read what it decides on, call, print.

mod apply;
mod commits;
mod drain;
mod explain;
mod fault;
mod fleet;
mod get;
mod keys;
mod overrides;
mod pki;
mod plan;
mod rollout;
mod store;
mod switch;
mod target;
mod watch;

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use crate::cli::AdminArgs;
use crate::connection::Connection;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make what files declare the configuration: one commit, all or nothing.
    Apply(apply::ApplyArgs),
    /// Show what `apply` would change; exit code 1 if anything.
    Diff(apply::DiffArgs),
    /// Show resources.
    Get(get::GetArgs),
    /// Remove a resource.
    Delete(apply::DeleteArgs),
    /// List commits, newest first.
    History(commits::HistoryArgs),
    /// Make a new commit with the content of an old one.
    Rollback(commits::RollbackArgs),
    /// Follow a commit on its way to the cells; pause it, take it back.
    #[command(subcommand)]
    Rollout(rollout::RolloutVerb),
    /// Make, list and revoke the keys that clients call with.
    #[command(subcommand)]
    Keys(keys::KeysVerb),
    /// Move a region's traffic away; it goes on serving what still comes.
    Drain(drain::DrainArgs),
    /// Let a drained region take traffic again.
    Undrain(overrides::UndrainArgs),
    /// Override a region's declared weight.
    Weight(overrides::WeightArgs),
    /// Take a provider or a model out of service at once, and put it back.
    #[command(subcommand)]
    Switch(switch::SwitchVerb),
    /// Inject faults into calls of providers, to rehearse; each ends by itself.
    #[command(subcommand)]
    Fault(fault::FaultVerb),
    /// Show regions, nodes, weights, and why they are what they are.
    Fleet(fleet::FleetArgs),
    /// Rehearse: what would happen to shares and load if something were otherwise.
    Plan(plan::PlanArgs),
    /// Follow every verdict, plan, drain, override, switch and commit as it happens.
    Watch(watch::WatchArgs),
    /// Ask why something is as it is.
    #[command(subcommand)]
    Explain(explain::ExplainVerb),
    /// Back up and restore the store.
    #[command(subcommand)]
    Store(store::StoreVerb),
    /// Make certificates.
    #[command(subcommand)]
    Pki(pki::PkiVerb),
}

/// Runs a verb on a small runtime of its own.
pub(crate) fn run(verb: Verb, admin: &AdminArgs) -> anyhow::Result<ExitCode> {
    let verb = match verb {
        Verb::Pki(verb) => return pki::run(verb),
        verb => verb,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start runtime")?;
    runtime.block_on(run_connected(verb, admin))
}

async fn run_connected(verb: Verb, admin: &AdminArgs) -> anyhow::Result<ExitCode> {
    // Files are read before anyone is called: their mistakes need no control plane.
    match verb {
        Verb::Apply(args) => {
            let draft = apply::load(&args.files)?;
            let (connection, loaded) = apply::checked(Connection::open(admin).await, draft).await?;
            apply::apply(&connection, &args, &loaded).await
        }
        Verb::Diff(args) => {
            let draft = apply::load(&args.files)?;
            let (connection, loaded) = apply::checked(Connection::open(admin).await, draft).await?;
            apply::diff(&connection, &loaded).await
        }
        Verb::Store(verb) => {
            store::run(verb).await?;
            Ok(ExitCode::SUCCESS)
        }
        // These open connections by themselves, one after the other.
        Verb::Drain(args) => drain::drain(admin, args).await,
        Verb::Watch(args) => {
            watch::watch(admin, args).await?;
            Ok(ExitCode::SUCCESS)
        }
        verb => {
            let connection = Connection::open(admin).await?;
            match verb {
                Verb::Get(args) => get::get(&connection, &args).await?,
                Verb::Delete(args) => apply::delete(&connection, args).await?,
                Verb::History(args) => commits::history(&connection, &args).await?,
                Verb::Rollback(args) => commits::rollback(&connection, args).await?,
                Verb::Rollout(verb) => rollout::run(&connection, verb).await?,
                Verb::Keys(verb) => keys::run(&connection, verb).await?,
                Verb::Undrain(args) => overrides::undrain(&connection, args).await?,
                Verb::Weight(args) => overrides::weight(&connection, args).await?,
                Verb::Switch(verb) => switch::run(&connection, verb).await?,
                Verb::Fault(verb) => fault::run(&connection, verb).await?,
                Verb::Fleet(args) => fleet::fleet(&connection, &args).await?,
                Verb::Plan(args) => plan::plan(&connection, args).await?,
                Verb::Explain(verb) => explain::run(&connection, verb).await?,
                Verb::Apply(_) | Verb::Diff(_) | Verb::Drain(_) | Verb::Watch(_) | Verb::Store(_) | Verb::Pki(_) => {}
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
