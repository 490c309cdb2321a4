//! What can be written on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::roles;
use crate::verbs;

/// A multi-region, active-active gateway for large-language-model APIs.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, max_term_width = 120, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Role(roles::Role),
    #[command(flatten)]
    Verb(verbs::Verb),
}

/// Where the admin API is, for the operator verbs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Control plane")]
pub(crate) struct AdminArgs {
    /// Admin API of a control replica, or of several with commas between, of which the first that answers is asked;
    /// default: the running `meridian dev`.
    #[arg(long, global = true, value_name = "HOST:PORT,...", env = "MERIDIAN_ADMIN")]
    pub(crate) admin: Option<String>,
    /// Authority that the replica's certificate is verified against.
    #[arg(long, global = true, value_name = "FILE", env = "MERIDIAN_ADMIN_CA")]
    pub(crate) admin_ca: Option<PathBuf>,
    /// Certificate of the operator.
    #[arg(long, global = true, value_name = "FILE", env = "MERIDIAN_ADMIN_CERT")]
    pub(crate) admin_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, global = true, value_name = "FILE", env = "MERIDIAN_ADMIN_KEY")]
    pub(crate) admin_key: Option<PathBuf>,
}

/// How the roles log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs of roles")]
pub(crate) struct LogArgs {
    /// Filter, for example `info,meridian_dns=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = "MERIDIAN_LOG")]
    pub(crate) log: Option<String>,
    /// `text` or `json`.
    #[arg(long, global = true, value_name = "FORMAT", env = "MERIDIAN_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: meridian_telemetry::Format,
}

/// How resources are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns for people.
    Table,
    /// What `apply` reads.
    Yaml,
    /// The messages' JSON form, fields named as in `proto/`. Fields that have their default value are left out, and
    /// 64-bit numbers are strings, as protobuf has it.
    Json,
}
