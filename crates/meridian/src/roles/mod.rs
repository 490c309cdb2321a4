//! What a process can be. Each role binds its sockets before anything starts, says where it listens, and stops in two
//! steps: drain, then force.

mod control;
mod dev;
mod dns;
mod node;
mod parts;
pub(crate) mod place;
mod sim;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use meridian_host::Host;
use meridian_lifecycle::{Shutdown, ShutdownTrigger, on_signals, shutdown};

use crate::cli::LogArgs;

/// How long the runtime may take to let go of its tasks when everything has been told to end.
const RUNTIME_END: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Run a replica of the control plane.
    // Boxed: it has four times as many flags as any other.
    Control(Box<control::ControlArgs>),
    /// Run a node: serve clients, and DNS if its file says so.
    Node(node::NodeArgs),
    /// Run a process that only answers DNS.
    Dns(dns::DnsArgs),
    /// Run everything in one process: three regions, DNS, a simulated provider.
    Dev(dev::DevArgs),
    /// Run the provider simulator.
    Sim(sim::SimArgs),
}

/// What every role gets.
pub(crate) struct Process {
    pub(crate) host: Host,
    pub(crate) trigger: ShutdownTrigger,
    pub(crate) shutdown: Shutdown,
}

impl Process {
    /// Lets SIGINT and SIGTERM begin the drain; open work has `grace` from then on.
    pub(crate) fn stop_on_signals(&self, grace: Duration) {
        let trigger = self.trigger.clone();
        tokio::spawn(async move {
            if let Err(error) = on_signals(trigger, grace).await {
                tracing::error!(%error, "signals cannot be received; the process can only be killed");
            }
        });
    }
}

impl Role {
    fn name(&self) -> &'static str {
        match self {
            Self::Control(_) => "control",
            Self::Node(_) => "node",
            Self::Dns(_) => "dns",
            Self::Dev(_) => "dev",
            Self::Sim(_) => "sim",
        }
    }
}

/// Runs a role until it is told to stop.
pub(crate) fn run(role: Role, log: LogArgs) -> anyhow::Result<ExitCode> {
    let name = role.name();
    let telemetry = meridian_telemetry::init(&meridian_telemetry::Options {
        service: format!("meridian-{name}"),
        instance: std::process::id().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        filter: log.log,
        format: log.log_format,
        colour: std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start runtime")?;
    let (trigger, shutdown) = shutdown();
    let process = Process { host: Host::real(), trigger, shutdown };
    let outcome = runtime.block_on(async {
        match role {
            Role::Control(args) => control::run(*args, process).await,
            Role::Node(args) => node::run(args, process).await,
            Role::Dns(args) => dns::run(args, process).await,
            Role::Dev(args) => dev::run(args, process).await,
            Role::Sim(args) => sim::run(args, process).await,
        }
    });
    runtime.shutdown_timeout(RUNTIME_END);
    telemetry.shutdown();
    outcome.map(|()| ExitCode::SUCCESS)
}
