//! Injected faults: which hold, and how they are told to people and to nodes.

use meridian_proto::fleet::v1::{InjectedFault, fault_spec::Kind};
use meridian_proto::node::v1 as node;

use crate::lead::time;
use crate::scope::Scope;
use crate::view::View;

/// Without those that have ended by `now`.
pub(crate) fn holding(faults: &[InjectedFault], now_unix_ms: i64) -> impl Iterator<Item = &InjectedFault> {
    faults.iter().filter(move |fault| now_unix_ms < fault.until_unix_ms)
}

/// What it does, to whom, until when, by whom and why.
pub(crate) fn text(fault: &InjectedFault) -> String {
    let spec = fault.spec.clone().unwrap_or_default();
    let what = match spec.kind {
        Some(Kind::LatencyMs(ms)) => format!("{ms} ms more latency"),
        Some(Kind::ErrorStatus(status)) => format!("error {status}"),
        Some(Kind::Hang(_)) => "no answer".to_owned(),
        Some(Kind::CutAfterEvents(events)) => format!("a cut after {events} events"),
        None => "nothing that this build knows".to_owned(),
    };
    let whom = Scope::from(&spec);
    let share = f64::from(spec.share_permille) / 10.0;
    let until = time(fault.until_unix_ms);
    format!("{what} for {share} % of the calls to {whom}, until {until}, by {}: {}", fault.author, fault.reason)
}

/// For nodes, which count down by themselves.
pub(crate) fn list(view: &View, now_unix_ms: i64) -> node::FaultList {
    let active = |fault: &InjectedFault| node::ActiveFault {
        left_ms: u32::try_from(fault.until_unix_ms.saturating_sub(now_unix_ms)).unwrap_or(0),
        fault: Some(fault.clone()),
    };
    node::FaultList {
        epoch: view.epoch,
        revision: view.faults_revision.0,
        faults: holding(&view.faults.faults, now_unix_ms).map(active).collect(),
    }
}

#[cfg(test)]
mod tests {
    use meridian_proto::fleet::v1::FaultSpec;

    use super::*;

    #[test]
    fn a_fault_is_told_whole() {
        let check = |spec: FaultSpec, expected: &str| {
            let fault = InjectedFault {
                id: "0a".to_owned(),
                spec: Some(spec),
                author: "alice".to_owned(),
                reason: "game day".to_owned(),
                made_at_unix_ms: 1,
                until_unix_ms: 1_795_262_400_000,
            };
            assert_eq!(text(&fault), format!("{expected}, until 2026-11-21T12:00:00Z, by alice: game day"));
        };
        let spec = |provider: &str, model: &str, region: &str, kind| FaultSpec {
            provider: provider.to_owned(),
            model: model.to_owned(),
            region: region.to_owned(),
            share_permille: 125,
            kind: Some(kind),
        };
        check(spec("a", "m", "", Kind::ErrorStatus(503)), "error 503 for 12.5 % of the calls to a:m");
        check(spec("a", "", "eu", Kind::Hang(true)), "no answer for 12.5 % of the calls to a from eu");
        let slow = "500 ms more latency for 12.5 % of the calls to every provider from eu";
        check(spec("", "", "eu", Kind::LatencyMs(500)), slow);
        check(spec("a", "", "", Kind::CutAfterEvents(20)), "a cut after 20 events for 12.5 % of the calls to a");
    }
}
