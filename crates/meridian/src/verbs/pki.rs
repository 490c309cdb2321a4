//! `pki`: works on files alone, no control plane is asked.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use meridian_host::Host;
use meridian_identity::{AuthorityDirectory, Identity, LEAF_DAYS, Role};
use meridian_types::RegionName;

use crate::failure::Usage;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum PkiVerb {
    /// Make a certificate authority: ca.pem goes to every machine, ca-key.pem stays.
    Init {
        /// Made if it is missing; nothing in it is overwritten.
        #[arg(long)]
        dir: PathBuf,
        /// Name of the cluster that it is for.
        #[arg(long, default_value = "meridian")]
        cluster: String,
    },
    /// Issue a certificate and its key.
    Issue {
        /// Directory of the authority; the new files go there too.
        #[arg(long)]
        dir: PathBuf,
        /// control, node, dns or operator.
        #[arg(long)]
        role: Role,
        /// Where a node or a DNS process belongs; others belong to none.
        #[arg(long)]
        region: Option<RegionName>,
        /// Name of the replica, node or person.
        #[arg(long)]
        name: String,
        /// Host name or address that it is reached at; may be repeated. Nobody connects to an operator.
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// Days that it is valid.
        #[arg(long, default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
    },
}

pub(crate) fn run(verb: PkiVerb) -> anyhow::Result<ExitCode> {
    let now = Host::real().clock.now_unix_ms();
    let text = match verb {
        PkiVerb::Init { dir, cluster } => {
            let directory = AuthorityDirectory::new(dir);
            directory.init(&cluster, now)?;
            format!("{}\n{}\n", directory.certificate().display(), directory.key().display())
        }
        PkiVerb::Issue { dir, role, region, name, hosts, days } => {
            if region.is_some() && !matches!(role, Role::Node | Role::Dns) {
                let text = format!("--region is for nodes and DNS processes: {role} certificates hold everywhere");
                return Err(Usage(text).into());
            }
            if role == Role::Operator && !hosts.is_empty() {
                return Err(Usage("--host is for what is connected to: an operator is not".to_owned()).into());
            }
            let identity = Identity::new(role, region, &name).map_err(|error| Usage(error.to_string()))?;
            if role == Role::Control && hosts.is_empty() {
                let text = "--host is needed for a control replica: nodes check the name they connect to";
                return Err(Usage(text.to_owned()).into());
            }
            let files = AuthorityDirectory::new(dir).issue(&identity, &hosts, now, days)?;
            format!("{}\n{}\n", files.certificate.display(), files.key.display())
        }
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
