//! Waits until nothing comes to a drained region any more, and prints why it thinks so, as it learns it.

use std::process::ExitCode;
use std::time::Duration;

use meridian_proto::admin::v1::{Fleet, GetFleetRequest};
use meridian_proto::fleet::v1::RegionState;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::evidence::{Look, Standing};
use crate::cli::AdminArgs;
use crate::connection::Connection;
use crate::format::{age, date};
use crate::output;

/// Between two looks at the fleet: nodes report once a second.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// What is left is told this often.
const TELL_LEFT: Duration = Duration::from_secs(10);
/// The deadline came first.
const TIMED_OUT: u8 = 3;
/// As shells have it: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// What is waited for.
pub(super) struct Wait {
    pub(super) region: String,
    /// Given to caches beyond the TTL.
    pub(super) stretch: Duration,
    pub(super) timeout: Duration,
    pub(super) json: bool,
}

/// One piece of evidence.
#[derive(Debug, PartialEq)]
struct Line {
    /// From a closed list, for scripts.
    step: &'static str,
    text: String,
    /// For scripts.
    facts: Vec<(&'static str, Value)>,
}

fn line<const N: usize>(step: &'static str, text: String, facts: [(&'static str, Value); N]) -> Line {
    Line { step, text, facts: facts.into() }
}

/// Prints until the region is empty, the time is up, or Ctrl-C. `until`: how long the drain holds, in words.
pub(super) async fn run(
    admin: &AdminArgs,
    mut connection: Connection,
    wait: Wait,
    until: &str,
) -> anyhow::Result<ExitCode> {
    let name = wait.region.clone();
    let mut progress = Progress::new(&wait);
    print(&wait, now(&connection), &line("set", format!("the drain of {name} is set{until}"), []))?;
    let watch = async {
        let mut told_at = Instant::now();
        loop {
            let fleet = look(admin, &mut connection).await;
            for line in progress.take(&fleet)? {
                print(&wait, fleet.at_unix_ms, &line)?;
            }
            if progress.is_over() {
                return anyhow::Ok(());
            }
            if told_at.elapsed() >= TELL_LEFT {
                told_at = Instant::now();
                print(&wait, fleet.at_unix_ms, &line("waiting", format!("left: {}", progress.left()), []))?;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let ended = tokio::select! {
        biased;
        ended = watch => return ended.map(|()| ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => ("interrupted", "interrupted".to_owned(), INTERRUPTED),
        () = tokio::time::sleep(wait.timeout) => {
            ("timeout", format!("the timeout of {} came", humantime::format_duration(wait.timeout)), TIMED_OUT)
        }
    };
    let (step, why, code) = ended;
    let text = format!(
        "{why}; left: {}. The drain of {name} stays: `drain {name} --wait` waits again, `undrain {name}` ends it",
        progress.left()
    );
    print(&wait, now(&connection), &line(step, text, []))?;
    Ok(ExitCode::from(code))
}

fn now(connection: &Connection) -> i64 {
    connection.host.clock.now_unix_ms()
}

/// The fleet, from whichever replica answers; the caller ends what would take too long.
async fn look(admin: &AdminArgs, connection: &mut Connection) -> Fleet {
    let mut is_told = false;
    loop {
        match connection.read(async |mut client| client.get_fleet(GetFleetRequest {}).await).await {
            Ok(fleet) => return fleet,
            Err(error) if !is_told => output::complain(&format!("no look at the fleet: {error:#}; trying on")),
            Err(_) => {}
        }
        is_told = true;
        tokio::time::sleep(LOOK_AGAIN).await;
        if let Ok(another) = Connection::open(admin).await {
            *connection = another;
        }
    }
}

fn print(wait: &Wait, at_unix_ms: i64, line: &Line) -> anyhow::Result<()> {
    let text = match wait.json {
        true => {
            let what = [("at_unix_ms", json!(at_unix_ms)), ("step", json!(line.step)), ("text", json!(line.text))];
            let facts = what.into_iter().chain(line.facts.iter().cloned());
            let object: serde_json::Map<String, Value> = facts.map(|(name, value)| (name.to_owned(), value)).collect();
            format!("{}\n", Value::Object(object))
        }
        false => format!("{}  {}\n", date(at_unix_ms), line.text),
    };
    output::print(&text)
}

/// What was learned so far.
struct Progress {
    region: String,
    stretch_ms: i64,
    look: Look,
    /// The drain was seen: a replica may be a moment behind the one that wrote it down.
    held: bool,
    planned: bool,
    stage: Stage,
}

/// How far the caches are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// An authority names the region, or might.
    Named,
    /// None does; caches may, within the TTL.
    Cached,
    /// The TTL has passed.
    Stretched,
    /// The margin too.
    Forgotten,
}

impl Progress {
    fn new(wait: &Wait) -> Self {
        let stretch_ms = i64::try_from(wait.stretch.as_millis()).unwrap_or(i64::MAX);
        let (region, look) = (wait.region.clone(), Look::default());
        Self { region, stretch_ms, look, held: false, planned: false, stage: Stage::Named }
    }

    /// What `fleet` adds to what is known. An error: the drain is no more.
    fn take(&mut self, fleet: &Fleet) -> anyhow::Result<Vec<Line>> {
        let name = &self.region;
        let Some(region) = fleet.regions.iter().find(|region| region.region == *name) else {
            return Err(anyhow::anyhow!("region {name} was removed meanwhile"));
        };
        if self.held && !region.drained {
            return Err(anyhow::anyhow!("the drain of {name} has ended meanwhile; `watch` and `fleet` say more"));
        }
        self.held |= region.drained;
        let mut lines = Vec::new();
        let moved = region.weight == 0 && !matches!(region.state(), RegionState::Serving | RegionState::Unspecified);
        if moved && !self.planned {
            let plan = fleet.plan.as_ref().map_or_else(String::new, |plan| format!("{}.{}", plan.epoch, plan.number));
            let others = fleet.regions.iter().filter(|other| other.weight > 0);
            let others: Vec<String> = others.map(|other| format!("{} {}", other.region, other.weight)).collect();
            let text = format!("plan {plan} gives {name} no share of 1000 any more: {}", others.join(", "));
            lines.push(line("planned", text, [("plan", json!(plan))]));
        }
        self.planned |= moved;
        let look = Look::of(fleet, name);
        for (node, standing) in &look.authorities {
            lines.extend(self.news(node, standing));
        }
        self.look = look;
        lines.extend(self.advance());
        Ok(lines)
    }

    /// A line for an authority that says something else than before.
    fn news(&self, node: &str, standing: &Standing) -> Option<Line> {
        let before = self.look.authorities.get(node);
        if before.is_some_and(|before| std::mem::discriminant(before) == std::mem::discriminant(standing)) {
            return None;
        }
        let region = &self.region;
        Some(match standing {
            Standing::Names { name, permille, plan } => line(
                "named",
                format!("{node} names {region}: in answers for {name}, up to {permille} of 1000 (plan {plan})"),
                [("node", json!(node)), ("name", json!(name)), ("permille", json!(permille)), ("plan", json!(plan))],
            ),
            Standing::Clear { plan, for_ms, cached_ms } => line(
                "stopped",
                format!(
                    "{node} does not name {region} (plan {plan}): not for {}; {}",
                    age(*for_ms),
                    match cached_ms {
                        1.. => format!("caches may hold it for {} more", age(*cached_ms)),
                        _ => "no cache within its TTL does".to_owned(),
                    }
                ),
                [
                    ("node", json!(node)),
                    ("plan", json!(plan)),
                    ("for_ms", json!(for_ms)),
                    ("cached_ms", json!(cached_ms)),
                ],
            ),
            Standing::Unknown(why) => {
                let text = format!("what {node} answers is not known: {why}");
                line("unknown", text, [("node", json!(node)), ("why", json!(why))])
            }
        })
    }

    /// Lines for stages that were reached; an authority that names the region again begins anew.
    fn advance(&mut self) -> Vec<Line> {
        let name = &self.region;
        let reached = match self.look.cached_ms() {
            None => Stage::Named,
            Some(1..) => Stage::Cached,
            Some(cached) if cached.saturating_add(self.stretch_ms) > 0 => Stage::Stretched,
            Some(_) => Stage::Forgotten,
        };
        let before = std::mem::replace(&mut self.stage, reached);
        let passed = |stage: Stage| before < stage && stage <= reached;
        let mut lines = Vec::new();
        if passed(Stage::Cached) {
            let count = self.look.authorities.len();
            let cached = self.look.cached_ms().unwrap_or_default().max(0);
            let text = match count {
                0 => "no node answers DNS".to_owned(),
                _ => format!("no DNS answer of {count} authorities names {name}; caches may for {} more", age(cached)),
            };
            lines.push(line("unnamed", text, [("authorities", json!(count)), ("cached_ms", json!(cached))]));
        }
        if passed(Stage::Stretched) {
            let stretch = age(self.stretch_ms);
            let text = format!("the TTL of the last answer has passed; {stretch} more for caches that stretch it");
            lines.push(line("ttl_passed", text, [("stretch_ms", json!(self.stretch_ms))]));
        }
        if passed(Stage::Forgotten) {
            lines.push(line("caches_passed", format!("caches have let go of {name}; {}", self.requests()), []));
        }
        if self.is_over() {
            let text = format!("{name} is drained: no DNS answer names it, caches have let go, no request is open");
            lines.push(line("drained", text, []));
        }
        lines
    }

    fn is_over(&self) -> bool {
        self.stage == Stage::Forgotten && self.look.open() == Some(0)
    }

    /// What keeps it from being over, in words.
    fn left(&self) -> String {
        let names = |wanted: fn(&Standing) -> bool| -> String {
            let nodes = self.look.authorities.iter().filter(|(_, standing)| wanted(standing));
            nodes.map(|(node, _)| node.as_str()).collect::<Vec<_>>().join(", ")
        };
        let naming = names(|standing| matches!(standing, Standing::Names { .. }));
        let unknown = names(|standing| matches!(standing, Standing::Unknown(_)));
        let mut parts = Vec::new();
        if !naming.is_empty() {
            parts.push(format!("DNS answers of {naming}"));
        }
        if !unknown.is_empty() {
            parts.push(format!("word from {unknown}"));
        }
        if let Some(left) = self.look.cached_ms().map(|cached| cached.saturating_add(self.stretch_ms))
            && left > 0
        {
            parts.push(format!("{} of TTL and stretch", age(left)));
        }
        parts.push(self.requests());
        parts.join("; ")
    }

    fn requests(&self) -> String {
        let open = self.look.requests.iter().filter(|(_, open)| **open != Some(0));
        let say = |(node, open): (&String, &Option<u32>)| match open {
            Some(open) => format!("{node} {open}"),
            None => format!("{node} does not say"),
        };
        let open: Vec<String> = open.map(say).collect();
        if open.is_empty() { "no request is open".to_owned() } else { format!("open requests: {}", open.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use meridian_proto::admin::v1::{FleetNode, FleetRegion};
    use meridian_proto::node::v1::{DnsRegion, DnsServed};

    use super::*;

    /// A fleet of one node in `eu`, which names the region or stopped so long ago, with so many requests open.
    fn fleet(drained: bool, unnamed_for_ms: Option<u64>, in_flight: u32) -> Fleet {
        let state = if unnamed_for_ms.is_some() { RegionState::Drained } else { RegionState::Serving };
        let eu = FleetRegion { region: "eu".into(), drained, state: state.into(), ..FleetRegion::default() };
        let us = FleetRegion { region: "us".into(), weight: 1000, ..FleetRegion::default() };
        let of = DnsRegion {
            region: "eu".into(),
            name: if unnamed_for_ms.is_none() { "api.test".into() } else { String::new() },
            permille: 333,
            unnamed_for_ms: unnamed_for_ms.unwrap_or(0),
            cached_for_ms: 30_000,
        };
        let dns = Some(DnsServed { plan_epoch: 1, plan_number: 9, regions: vec![of] });
        let (node, region) = ("eu-1".to_owned(), "eu".to_owned());
        let node = FleetNode { node, region, dns, in_flight, last_report_age_ms: 0, ..FleetNode::default() };
        Fleet { regions: vec![eu, us], nodes: vec![node], ..Fleet::default() }
    }

    fn progress() -> Progress {
        let (timeout, stretch) = (Duration::from_secs(600), Duration::from_secs(60));
        Progress::new(&Wait { region: "eu".into(), stretch, timeout, json: false })
    }

    #[test]
    fn a_drain_is_over_when_answers_caches_and_requests_are() {
        let mut progress = progress();
        let mut check = |fleet: Fleet, expected: &[&str], left: &str| {
            let lines = progress.take(&fleet).unwrap();
            assert_eq!(lines.iter().map(|line| line.step).collect::<Vec<_>>(), expected);
            assert_eq!(progress.left(), left);
            progress.is_over()
        };
        // The replica that is asked has not heard of the drain yet.
        assert!(!check(fleet(false, None, 7), &["named"], "DNS answers of eu-1; open requests: eu-1 7"));
        assert!(!check(fleet(true, None, 7), &[], "DNS answers of eu-1; open requests: eu-1 7"));
        let stopped = ["planned", "stopped", "unnamed"];
        assert!(!check(fleet(true, Some(400), 2), &stopped, "1m29s of TTL and stretch; open requests: eu-1 2"));
        assert!(!check(
            fleet(true, Some(30_000), 2),
            &["ttl_passed"],
            "1m00s of TTL and stretch; open requests: eu-1 2"
        ));
        // It is named again: everything begins anew.
        assert!(!check(fleet(true, None, 0), &["named"], "DNS answers of eu-1; no request is open"));
        let again = ["stopped", "unnamed", "ttl_passed"];
        assert!(!check(fleet(true, Some(31_000), 0), &again, "59s of TTL and stretch; no request is open"));
        assert!(!check(fleet(true, Some(90_000), 1), &["caches_passed"], "open requests: eu-1 1"));
        let mut silent = fleet(true, Some(95_000), 0);
        silent.nodes[0].last_report_age_ms = 4_000;
        assert!(!check(silent, &["unknown"], "word from eu-1; no request is open"));
        let end = ["stopped", "unnamed", "ttl_passed", "caches_passed", "drained"];
        assert!(check(fleet(true, Some(99_000), 0), &end, "no request is open"));
    }

    #[test]
    fn a_drain_that_somebody_ends_is_an_error() {
        let mut progress = progress();
        progress.take(&fleet(true, Some(0), 0)).unwrap();
        let error = progress.take(&fleet(false, None, 0)).unwrap_err().to_string();
        assert!(error.starts_with("the drain of eu has ended meanwhile"), "{error}");
        let gone = progress.take(&Fleet::default()).unwrap_err().to_string();
        assert_eq!(gone, "region eu was removed meanwhile");
    }
}
