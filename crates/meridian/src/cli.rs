//! What can be written on the command line: each flag where it does something, and nowhere else.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

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

/// Verbs that work on files or on the store, and so call no control plane.
const ON_FILES: [&str; 2] = ["pki", "store"];

impl Cli {
    /// Reads the arguments of this process; ends it with a hint if they are wrong.
    pub(crate) fn read() -> Self {
        Self::try_read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// The shared flags may stand before the verb or after it. One that its verb does not take is an error in both
    /// places.
    fn try_read(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(line)?;
        if let Some((name, _)) = matches.subcommand()
            && let Some(verb) = command.find_subcommand(name)
        {
            let is_written = |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
            let is_taken = |arg: &Arg| verb.get_arguments().any(|taken| taken.get_id() == arg.get_id());
            let ignored = shared::<AdminArgs>().into_iter().chain(shared::<LogArgs>());
            if let Some(arg) = ignored.filter(|arg| is_written(&arg)).find(|arg| !is_taken(arg)) {
                let flag = arg.get_long().unwrap_or_default();
                let text = format!("--{flag} does nothing for `{name}`");
                return Err(command.error(ErrorKind::ArgumentConflict, text));
            }
        }
        Self::from_arg_matches(&matches)
    }
}

/// The derived command, with the shared flags in each verb that takes them.
fn command() -> clap::Command {
    let mut command = Cli::command();
    // Global below their verb: `keys --admin ... list` and `keys list --admin ...` mean the same. Clap carries what is
    // written deepest to every level, and what is written before what is in the environment.
    let roles = roles::Role::augment_subcommands(clap::Command::new("roles"));
    for role in roles.get_subcommands() {
        command = command.mut_subcommand(role.get_name(), |role| role.args(shared::<LogArgs>()));
    }
    let verbs = verbs::Verb::augment_subcommands(clap::Command::new("verbs"));
    for verb in verbs.get_subcommands().filter(|verb| !ON_FILES.contains(&verb.get_name())) {
        command = command.mut_subcommand(verb.get_name(), |verb| verb.args(shared::<AdminArgs>()));
    }
    command
}

fn shared<A: Args>() -> Vec<Arg> {
    A::augment_args(clap::Command::new("shared")).get_arguments().map(|arg| arg.clone().global(true)).collect()
}

/// Where the admin API is, for the operator verbs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Control plane")]
pub(crate) struct AdminArgs {
    /// Admin API of a control replica, or of several with commas between, of which the first that answers is asked;
    /// default: the running `meridian dev`.
    #[arg(long, value_name = "HOST:PORT,...", env = "MERIDIAN_ADMIN")]
    pub(crate) admin: Option<String>,
    /// Authority that the replica's certificate is verified against.
    #[arg(long, value_name = "FILE", env = "MERIDIAN_ADMIN_CA")]
    pub(crate) admin_ca: Option<PathBuf>,
    /// Certificate of the operator.
    #[arg(long, value_name = "FILE", env = "MERIDIAN_ADMIN_CERT")]
    pub(crate) admin_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", env = "MERIDIAN_ADMIN_KEY")]
    pub(crate) admin_key: Option<PathBuf>,
}

/// How the roles log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs of roles")]
pub(crate) struct LogArgs {
    /// Filter, for example `info,meridian_dns=debug`.
    #[arg(long, value_name = "FILTER", env = "MERIDIAN_LOG")]
    pub(crate) log: Option<String>,
    /// `text` or `json`.
    #[arg(long, value_name = "FORMAT", env = "MERIDIAN_LOG_FORMAT", default_value = "text")]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<(), &str>) {
        let read = Cli::try_read(std::iter::once("meridian").chain(line.split_whitespace()));
        match (read, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{line}: {error}"),
            (read, _) => panic!("{line}: {read:?}"),
        }
    }

    #[test]
    fn a_flag_is_taken_where_it_does_something_and_is_an_error_elsewhere() {
        command().debug_assert();
        for line in [
            "fleet --admin a:1",
            "--admin a:1 fleet",
            "--admin a:1 fleet --watch --interval 5s",
            "keys --admin a:1 list",
            "keys list --admin a:1 --admin-ca a --admin-cert b --admin-key c",
            "sim --log debug --log-format json",
            "--log debug dev",
            "weight us 5 --for 3s",
            "weight us --clear --reason x",
            "fault inject --target a/m --share 10% --kind latency=500ms --for 10m --reason x",
            "fault inject --region eu --kind hang --for 1h --reason x",
            "fault end 0a1b2c3d",
            "switch off a --reason x",
            "switch off a:m --region eu --reason x --for 4h",
            "switch on a/m --region eu --reason x",
            "switch list -o json",
        ] {
            check(line, Ok(()));
        }
        for (line, text) in [
            ("sim --admin 1.2.3.4:1", "unexpected argument '--admin'"),
            ("--admin 1.2.3.4:1 sim", "--admin does nothing for `sim`"),
            ("node --config x --admin-ca x", "unexpected argument '--admin-ca'"),
            ("fleet --log sgsd=sdf=", "unexpected argument '--log'"),
            ("--log debug fleet", "--log does nothing for `fleet`"),
            ("get all --log-format json", "unexpected argument '--log-format'"),
            ("--log-format json keys list", "--log-format does nothing for `keys`"),
            ("pki init --dir d --admin a:1", "unexpected argument '--admin'"),
            ("--admin-key k store backup f", "--admin-key does nothing for `store`"),
            ("fleet --interval 5s", "--watch"),
            ("weight us --clear --for 3s", "cannot be used with"),
            ("weight us --clear --until 2030-01-01T00:00:00Z", "cannot be used with"),
            ("apply -f x --dry-run --reason y", "cannot be used with"),
            ("weight us 5 --clear", "cannot be used with"),
            ("fault inject --kind hang --for 10m --reason x", "--provider"),
            ("fault inject --provider a --target a/m --kind hang --for 10m --reason x", "cannot be used with"),
            ("fault inject --provider a --kind hang --reason x", "--for"),
            ("fault inject --provider a --kind hang --for 2h --reason x", "1s to 1h"),
            ("fault inject --provider a --kind hang --for 10m", "--reason"),
            ("switch off a", "--reason"),
            ("switch off --reason x", "PROVIDER[:MODEL]"),
            ("switch off a: --reason x", "write provider or provider:model"),
            ("switch off a --reason x --for 0s", "at least 1s"),
            ("switch on a --reason x --for 1h", "--for"),
            ("drain us --for 3s --until 2030-01-01T00:00:00Z", "cannot be used with"),
        ] {
            check(line, Err(text));
        }
    }

    #[test]
    fn a_shared_flag_means_the_same_before_and_after_its_verb() {
        let admin = |line: &str| {
            let read = Cli::try_read(std::iter::once("meridian").chain(line.split_whitespace()));
            read.unwrap().admin.admin
        };
        for line in ["--admin a:1 keys list", "keys --admin a:1 list", "keys list --admin a:1"] {
            assert_eq!(admin(line).as_deref(), Some("a:1"), "{line}");
        }
        assert_eq!(admin("--admin a:1 keys list --admin b:1").as_deref(), Some("b:1"));
        let read = Cli::try_read(["meridian", "sim", "--log-format", "json"]).unwrap();
        assert_eq!(read.log.log_format, meridian_telemetry::Format::Json);
    }
}
