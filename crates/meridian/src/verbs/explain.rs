//! `explain`.

mod request;

use clap::Subcommand;
use meridian_proto::admin::v1::explain_request::Subject;
use meridian_proto::admin::v1::{ExplainDnsRequest, ExplainRequest};

use crate::cli::OutputFormat;
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
    /// Why a region is in its state: evidence, nodes, override, since when.
    Region {
        /// As `fleet` names it.
        name: String,
    },
    /// Why a region has its weight: what the planner is told, and what it made of it.
    Weight {
        /// The region.
        name: String,
    },
    /// Why a node has its verdict: what it says, what others see of it.
    Node {
        /// As `fleet` names it.
        name: String,
    },
    /// What became of a client's request: who was asked, in which order, how long it took, how it ended. Nodes remember
    /// the last 2048 that ended, each.
    Request {
        /// As the answer's `x-request-id` says it.
        id: String,
        /// `table` or `json`.
        #[arg(short = 'o', long, value_enum, default_value = "table")]
        output: OutputFormat,
    },
    /// How an upstream target does on every node.
    Target {
        /// `provider:model`, or a provider for all of its targets.
        name: String,
    },
}

pub(crate) async fn run(connection: &Connection, verb: ExplainVerb) -> anyhow::Result<()> {
    let subject = match verb {
        ExplainVerb::Dns { name, from, node } => return dns(connection, ExplainDnsRequest { name, from, node }).await,
        ExplainVerb::Request { id, output } => return request::request(connection, id, output).await,
        ExplainVerb::Region { name } => Subject::Region(name),
        ExplainVerb::Weight { name } => Subject::Weight(name),
        ExplainVerb::Node { name } => Subject::Node(name),
        ExplainVerb::Target { name } => Subject::Target(name),
    };
    let request = ExplainRequest { subject: Some(subject) };
    let answer = connection.read(async |mut client| client.explain(request.clone()).await).await?;
    output::print(&lines(&format!("replica {}", answer.replica), &answer.lines))
}

async fn dns(connection: &Connection, request: ExplainDnsRequest) -> anyhow::Result<()> {
    let answer = connection.read(async |mut client| client.explain_dns(request.clone()).await).await?;
    output::print(&lines(&format!("node {}", answer.node), &answer.lines))
}

fn lines(who: &str, lines: &[String]) -> String {
    let mut text = format!("{who} says:\n");
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}
