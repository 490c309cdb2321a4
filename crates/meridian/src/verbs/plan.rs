//! `plan`: what the planner would decide if things were otherwise.

use std::str::FromStr;

use clap::Args;
use meridian_proto::admin::v1::supposition::What;
use meridian_proto::admin::v1::{Rehearsal, RehearseRequest, Supposition};
use meridian_proto::fleet::v1::RegionState;

use crate::connection::Connection;
use crate::format::table;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// What to suppose: `region NAME down|drained|undrained`, `region NAME weight N` or `region NAME demand N`
    /// (requests in flight that its clients offer). May be given several times; without it: as things are.
    #[arg(long = "if", value_name = "SUPPOSITION")]
    suppose: Vec<Supposed>,
}

/// A supposition as it is written.
#[derive(Debug, Clone, PartialEq)]
struct Supposed(Supposition);

impl FromStr for Supposed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |text: &str| format!("{text:?} is no number that is allowed here");
        let (region, what) = match words.as_slice() {
            ["region", name, "down"] => (name, What::Down(true)),
            ["region", name, "drained"] => (name, What::Drained(true)),
            ["region", name, "undrained"] => (name, What::Drained(false)),
            ["region", name, "weight", weight] => (name, What::Weight(weight.parse().map_err(|_| number(weight))?)),
            ["region", name, "demand", demand] => (name, What::Demand(demand.parse().map_err(|_| number(demand))?)),
            _ => return Err("write `region NAME down`, `... drained`, `... weight N` or `... demand N`".to_owned()),
        };
        Ok(Self(Supposition { region: (*region).to_owned(), what: Some(what) }))
    }
}

pub(crate) async fn plan(connection: &Connection, args: PlanArgs) -> anyhow::Result<()> {
    let suppose = args.suppose.into_iter().map(|supposed| supposed.0).collect();
    let request = RehearseRequest { suppose };
    let rehearsal = connection.read(async |mut client| client.rehearse(request.clone()).await).await?;
    output::print(&render(&rehearsal))
}

fn render(rehearsal: &Rehearsal) -> String {
    let rows = rehearsal.regions.iter().map(|region| {
        let state = match region.state() {
            RegionState::Serving => "serving",
            RegionState::Drained => "drained",
            RegionState::Down => "down",
            RegionState::Empty => "never seen",
            RegionState::Unspecified => "unknown",
        };
        vec![
            region.region.clone(),
            state.to_owned(),
            format!("{} -> {}", region.weight_before, region.weight_after),
            format!("{:.1} -> {:.1}", region.load_before, region.load_after),
            region.capacity.to_string(),
            format!("{:.1}", region.shed),
            region.reason.clone(),
        ]
    });
    let mut text = format!("a rehearsal on plan {}.{}; nothing is changed\n\n", rehearsal.epoch, rehearsal.number);
    text.push_str(&table(&["REGION", "STATE", "WEIGHT", "LOAD", "CAPACITY", "BEYOND", "REASON"], rows));
    let (shed, demand) = (rehearsal.shed, rehearsal.demand);
    text.push_str(&if shed > 0.0 {
        format!(
            "\nabout {shed:.0} of {demand:.0} requests in flight would have no room, and be shed where there is none\n"
        )
    } else {
        format!("\nall of {demand:.0} requests in flight have room\n")
    });
    text
}

#[cfg(test)]
mod tests {
    use meridian_proto::admin::v1::RehearsedRegion;

    use super::*;

    #[test]
    fn suppositions_are_short_sentences() {
        let check = |text: &str, what: Option<What>| {
            let parsed: Option<Supposed> = text.parse().ok();
            let expected = what.map(|what| Supposition { region: "eu-west".to_owned(), what: Some(what) });
            assert_eq!(parsed.map(|supposed| supposed.0), expected, "{text}");
        };
        check("region eu-west down", Some(What::Down(true)));
        check(" region  eu-west drained ", Some(What::Drained(true)));
        check("region eu-west undrained", Some(What::Drained(false)));
        check("region eu-west weight 50", Some(What::Weight(50)));
        check("region eu-west demand 120.5", Some(What::Demand(120.5)));
        for wrong in ["", "eu-west down", "region eu-west", "region eu-west weight", "region eu-west weight -1"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_would_be_shed_is_the_last_word() {
        let region = RehearsedRegion {
            region: "us".to_owned(),
            state: RegionState::Serving.into(),
            weight_before: 500,
            weight_after: 1000,
            capacity: 100,
            load_before: 60.0,
            load_after: 120.0,
            shed: 35.0,
            reason: "takes over".to_owned(),
        };
        let text = render(&Rehearsal { epoch: 0, number: 7, regions: vec![region], demand: 120.0, shed: 35.0 });
        assert_eq!(
            text,
            "a rehearsal on plan 0.7; nothing is changed\n\n\
             REGION  STATE    WEIGHT       LOAD           CAPACITY  BEYOND  REASON\n\
             us      serving  500 -> 1000  60.0 -> 120.0  100       35.0    takes over\n\n\
             about 35 of 120 requests in flight would have no room, and be shed where there is none\n"
        );
    }
}
