//! `explain`.

use clap::Subcommand;
use meridian_proto::admin::v1::ExplainDnsRequest;

use crate::connection::Connection;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainVerb {
    /// Why a name is answered as it is to a client at an address.
    Dns {
        /// The name, for example api.meridian.test.
        name: String,
        /// Address or network of the client, for example 198.51.100.7 or 198.51.100.0/24.
        #[arg(long, value_name = "ADDRESS|PREFIX")]
        from: String,
        /// Ask this node; default: any that answers DNS.
        #[arg(long, default_value = "")]
        node: String,
    },
}

pub(crate) async fn run(connection: &Connection, verb: ExplainVerb) -> anyhow::Result<()> {
    let ExplainVerb::Dns { name, from, node } = verb;
    let request = ExplainDnsRequest { name, from, node };
    let answer = connection.read(async |mut client| client.explain_dns(request.clone()).await).await?;
    let mut text = format!("node {} says:\n", answer.node);
    for line in answer.lines {
        text.push_str(&line);
        text.push('\n');
    }
    output::print(&text)?;
    Ok(())
}
