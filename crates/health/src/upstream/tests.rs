//! Tables of findings and verdicts, and what must hold whatever the nodes say.

use proptest::prelude::*;

use super::UpstreamVerdict::{Down, Unknown, Up};
use super::*;

fn now(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), unix_ms: i64::try_from(seconds).unwrap() * 1000 }
}

fn findings(up: usize, down: usize) -> Findings {
    let why = if down > 0 { "failed repeatedly" } else { "" };
    Findings { up, down, why: why.to_owned() }
}

fn regions(names: &[&str]) -> BTreeSet<RegionName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// The verdicts of a region whose nodes find this, second by second: each `(seconds, up, down)` lasts so long.
#[track_caller]
fn check(script: &[(u64, usize, usize)], expected: &[(u64, UpstreamVerdict)]) {
    let (mut held, mut seen, mut at) = (None, Vec::new(), 0);
    for (seconds, up, down) in script {
        for _ in 0..*seconds {
            let next = upstream(held.as_ref(), &findings(*up, *down), now(at));
            if held.as_ref().map(|held: &HeldUpstream| held.verdict) != Some(next.verdict) {
                assert_eq!(next.since_unix_ms, now(at).unix_ms);
                seen.push((at, next.verdict));
            }
            (held, at) = (Some(next), at + 1);
        }
    }
    assert_eq!(seen, expected, "{script:?}");
}

#[test]
fn a_region_is_down_at_once_by_most_of_those_that_asked_and_up_after_a_while() {
    check(&[(5, 0, 1), (2, 1, 0), (5, 0, 1), (9, 1, 0)], &[(0, Down), (15, Up)]);
    check(&[(5, 2, 1), (5, 1, 1), (5, 1, 2)], &[(0, Up), (10, Down)]);
    // Silence is no evidence: for a while what was known last stands, longer where it served.
    check(&[(1, 0, 0), (5, 0, 2), (20, 0, 0)], &[(0, Unknown), (1, Down), (16, Unknown)]);
    check(&[(5, 1, 0), (70, 0, 0)], &[(0, Up), (65, Unknown)]);
    check(&[(5, 1, 0), (50, 0, 0), (1, 1, 0), (50, 0, 0)], &[(0, Up)]);
}

#[test]
fn the_evidence_says_why_and_of_how_many() {
    for (up, down, expected) in [
        (0, 1, "failed repeatedly"),
        (1, 2, "failed repeatedly (2 of 3 nodes)"),
        (2, 1, "it serves 2 of 3 nodes"),
        (0, 0, "no node has asked it of late"),
    ] {
        assert_eq!(upstream(None, &findings(up, down), now(0)).evidence, expected);
    }
}

#[test]
fn an_outage_is_everywhere_when_two_regions_find_it_and_none_denies_it() {
    let here = |down: &[&str], up: &[&str]| Outage::Here { down: regions(down), up: regions(up) };
    for (verdicts, expected) in [
        ([Up, Up, Up], Outage::None),
        ([Unknown, Unknown, Unknown], Outage::None),
        ([Up, Unknown, Unknown], Outage::None),
        ([Down, Up, Up], here(&["ap"], &["eu", "us"])),
        ([Down, Up, Unknown], here(&["ap"], &["eu"])),
        ([Down, Unknown, Unknown], here(&["ap"], &[])),
        ([Down, Down, Up], here(&["ap", "eu"], &["us"])),
        ([Down, Unknown, Down], Outage::Everywhere(regions(&["ap", "us"]))),
        ([Down, Down, Down], Outage::Everywhere(regions(&["ap", "eu", "us"]))),
    ] {
        let named = ["ap", "eu", "us"].map(|name| name.parse().unwrap()).into_iter().zip(verdicts);
        assert_eq!(outage(named), expected, "{verdicts:?}");
    }
}

proptest! {
    /// Down only on somebody's word, up again only after all that time without a contrary one, and in the end what the nodes
    /// say holds.
    #[test]
    fn a_verdict_never_runs_ahead_of_the_findings_nor_stays_behind_for_ever(
        script in prop::collection::vec((0usize..3, 0usize..3, 0u64..5), 1..60),
        last in (0usize..3, 0usize..3),
    ) {
        let (mut held, mut at): (Option<HeldUpstream>, u64) = (None, 0);
        let mut well_since = None;
        for (up, down, passed) in script {
            at += passed;
            let said = findings(up, down);
            let before = held.as_ref().map(|held| held.verdict);
            well_since = (said.verdict() == Up).then(|| well_since.unwrap_or(at));
            let next = upstream(held.as_ref(), &said, now(at));
            if next.verdict == Down && before != Some(Down) {
                prop_assert!(down > up);
            }
            if next.verdict == Up && before == Some(Down) {
                prop_assert!(well_since.is_some_and(|since| at - since >= RECOVERY_HOLD.as_secs()));
            }
            held = Some(next);
        }
        let said = findings(last.0, last.1);
        for _ in 0..2 {
            held = Some(upstream(held.as_ref(), &said, now(at)));
            at += UP_LIFE.as_secs();
        }
        prop_assert_eq!(upstream(held.as_ref(), &said, now(at)).verdict, said.verdict());
    }
}
