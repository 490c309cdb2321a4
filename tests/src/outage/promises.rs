//! What must hold throughout an outage, and what must have held in the end: pure, from what was seen. A promise comes with the
//! bug that breaks it, for a test to see that it is caught: `tests/tests/outage_bugs.rs`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::answer::End;
use super::eyes::{Outcome, Seen};
use super::hosts::{LOOK_EVERY, PRIMARY};
use super::strike::{Nature, Outage, Strike};

/// A dead primary is asked for so long by clients' requests, and then by probes alone ...
const FOUND_DEAD: Duration = Duration::from_secs(2);
/// ... and a silent one for so long: its first victims wait for their deadline.
const FOUND_SILENT: Duration = Duration::from_secs(5);
/// One of which probes find nothing wrong, or which only has too much to do, requests have to look at: then so often in a
/// second, on the average.
const LOOKS_PER_S: f64 = 1.0;
/// Of the requests while a primary comes and goes so many may meet it when it is gone.
const IN_VAIN: f64 = 0.1;
/// Attempts a request when there is nobody to serve it.
const ATTEMPTS: f64 = 1.2;
/// The primary has everything again after so many seconds ...
const BACK_AFTER_S: usize = 30;
/// ... and at most this share of it in the first of the seconds in which it has anything.
const FIRST_SHARE: f64 = 0.5;
/// When one of two dead providers recovers, requests may fail for so long until it is found alive.
const FOUND_ALIVE: Duration = Duration::from_secs(15);
/// A stream that was struck ends so much later at most: its silence has a deadline.
const AFTERMATH: Duration = Duration::from_secs(2);

/// What is wrong with one request's end.
pub(super) fn broken_by(outage: &Outage, outcome: &Outcome) -> Option<String> {
    let during = |range: Range<Duration>| outcome.begun < range.end && range.start < outcome.ended;
    let nobody_served = outage.total_while().is_some_and(|total| during(total.start..total.end + FOUND_ALIVE));
    let is_struck = outage.strikes().any(|(_, strike)| during(strike.at..strike.end() + AFTERMATH));
    let asked = format!("asked at {:.3} s", outcome.begun.as_secs_f64());
    match &outcome.answer.end {
        End::Wrong(what) => Some(format!("{what}, {asked}")),
        End::Refused(status) if !nobody_served => {
            Some(format!("a request that another provider could have served was answered {status}, {asked}"))
        }
        End::Told { characters: 0 } if !nobody_served => {
            Some(format!("a stream that another provider could have served ended before its first word, {asked}"))
        }
        End::Told { .. } if !is_struck && !nobody_served => Some(format!("a stream died of nothing, {asked}")),
        _ => None,
    }
}

/// What is wrong with the whole.
pub(super) fn broken(outage: &Outage, seen: &Seen, metrics: &str) -> Vec<String> {
    let attempts = match outage.total_while() {
        Some(total) => multiplied(&total, seen),
        None => asked_in_vain(&outage.primary, seen),
    };
    let checks = [attempts, late(outage, seen), burst(outage, seen), miscounted(seen, metrics), left_behind(seen)];
    checks.into_iter().flatten().collect()
}

/// Attempts that began in this time.
fn asked(seen: &Seen, which: usize, range: &Range<Duration>) -> u64 {
    let looks = seen.looks.iter().filter(|look| range.start + LOOK_EVERY <= look.at && look.at <= range.end);
    looks.filter_map(|look| look.asked.get(which)).sum()
}

fn requests(seen: &Seen, range: &Range<Duration>) -> usize {
    seen.outcomes.iter().filter(|outcome| range.contains(&outcome.begun)).count()
}

/// The primary alone is struck: it is left alone.
fn asked_in_vain(strike: &Strike, seen: &Seen) -> Option<String> {
    if strike.beat.is_some() {
        let all = requests(seen, &(strike.at..strike.end()));
        let in_vain: u64 = strike.struck().iter().map(|struck| asked(seen, 0, struck)).sum();
        let is_much = in_vain as f64 > all as f64 * IN_VAIN;
        return is_much
            .then(|| format!("{in_vain} of {all} requests met a primary that came and went when it was gone"));
    }
    if !strike.is_whole() {
        // It serves the others.
        return None;
    }
    let limit = if strike.kind.nature() == Nature::Dead { FOUND_DEAD } else { FOUND_SILENT };
    let after = strike.at + limit..strike.end();
    let late = asked(seen, 0, &after);
    let seconds = after.end.saturating_sub(after.start).as_secs_f64();
    let allowed = match strike.kind.nature() {
        Nature::Dead | Nature::Silent => 0.0,
        Nature::Pressed | Nature::Hidden => (seconds * LOOKS_PER_S).ceil(),
    };
    (late as f64 > allowed).then(|| {
        format!("the primary was asked {late} times later than {} s after its end had begun", limit.as_secs_f64())
    })
}

/// Nobody serves: attempts are hardly more than requests.
fn multiplied(total: &Range<Duration>, seen: &Seen) -> Option<String> {
    let (attempts, requests) = (asked(seen, 0, total) + asked(seen, 1, total), requests(seen, total));
    let is_much = attempts as f64 > requests as f64 * ATTEMPTS;
    is_much.then(|| format!("{attempts} attempts for {requests} requests that nobody could serve"))
}

/// Of each whole second since the primary's recovery, but for the last one before `now`, the share that it served.
pub(super) fn shares(outage: &Outage, seen: &Seen, now: Duration) -> Vec<f64> {
    let from = outage.primary.end();
    let seconds = now.saturating_sub(from).as_secs().saturating_sub(1);
    let share = |second: u64| {
        let begun = from + Duration::from_secs(second);
        let range = begun..begun + Duration::from_secs(1);
        let served = seen.outcomes.iter().filter(|outcome| range.contains(&outcome.begun));
        let by_primary = served.clone().filter(|outcome| outcome.answer.provider.starts_with(PRIMARY)).count();
        by_primary as f64 / served.count().max(1) as f64
    };
    (0..seconds).map(share).collect()
}

fn since_recovery(outage: &Outage, seen: &Seen) -> Vec<f64> {
    shares(outage, seen, seen.outcomes.iter().map(|outcome| outcome.begun).max().unwrap_or_default())
}

fn late(outage: &Outage, seen: &Seen) -> Option<String> {
    let shares = since_recovery(outage, seen);
    let back = shares.iter().position(|share| *share == 1.0).is_some_and(|second| second < BACK_AFTER_S);
    (!back).then(|| format!("the primary is not back {BACK_AFTER_S} s after its recovery: {shares:.2?}"))
}

fn burst(outage: &Outage, seen: &Seen) -> Option<String> {
    // One that was asked all the time does not return, nor does one beside which there is no other.
    let dead = matches!(outage.primary.kind.nature(), Nature::Dead | Nature::Silent);
    if outage.fallback.is_some() || !outage.primary.is_whole() || !dead {
        return None;
    }
    let first = since_recovery(outage, seen).into_iter().find(|share| *share > 0.0)?;
    (first > FIRST_SHARE).then(|| format!("the primary had {:.0} % at once when it returned", first * 100.0))
}

/// What the node counts is what the clients met, each request once.
fn miscounted(seen: &Seen, metrics: &str) -> Option<String> {
    let counted = |outcome: &str| -> usize {
        let start = format!("meridian_node_requests_total{{outcome=\"{outcome}\"");
        let lines = metrics.lines().filter(|line| line.starts_with(&start));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    };
    let met = |end: fn(&End) -> bool| seen.outcomes.iter().filter(|outcome| end(&outcome.answer.end)).count();
    let answered = met(|end| *end == End::Answered);
    let failed = met(|end| matches!(end, End::Told { .. } | End::Refused(_)));
    let left = met(|end| *end == End::Left);
    let node: BTreeMap<_, _> =
        ["answered", "failed", "cancelled", "refused", "shed"].into_iter().map(|name| (name, counted(name))).collect();
    let of = |name: &str| node.get(name).copied().unwrap_or_default();
    // A stream may die while its client leaves.
    let agrees = of("answered") == answered
        && of("failed") >= failed
        && of("failed") + of("cancelled") == failed + left
        && of("refused") + of("shed") == 0;
    if !agrees {
        let clients = format!("answered {answered}, failed {failed}, left {left}");
        return Some(format!("the node counts {node:?}, its clients {clients}"));
    }
    let sum = |count: fn(&super::eyes::Look) -> u64| seen.looks.iter().map(count).sum::<u64>();
    let (started, finished) = (sum(|look| look.started), sum(|look| look.finished));
    let under_way = seen.looks.last().map_or(0, |look| look.under_way);
    let asked = seen.outcomes.len();
    let agrees = started == finished && started == asked as u64 && under_way == 0;
    (!agrees).then(|| {
        format!(
            "of {asked} requests {started} were started and {finished} finished; {under_way} attempts are under way"
        )
    })
}

fn left_behind(seen: &Seen) -> Option<String> {
    let tasks = seen.remains.tasks;
    if tasks > 0 {
        return Some(format!("{tasks} tasks are left behind by a node that has stopped"));
    }
    seen.remains.held.then(|| "something holds the state of a node that has stopped".to_owned())
}
