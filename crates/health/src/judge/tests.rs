//! Tests of the judge.

use proptest::prelude::*;

use super::*;
use crate::{Handed, Observation, Pulse};

const FRESH: Pulse = Pulse::Last { age: Duration::from_millis(200), open: true };
const SILENT: Pulse = Pulse::Last { age: Duration::from_millis(1100), open: true };
const ENDED: Pulse = Pulse::Last { age: Duration::from_millis(100), open: false };

/// A fleet of nodes `region/node`, all well and all seeing each other.
fn fleet(nodes: &[&str]) -> BTreeMap<NodeName, NodeEvidence> {
    let split = |node: &str| {
        let (region, name) = node.split_once('/').unwrap();
        (RegionName::new(region).unwrap(), NodeName::new(name).unwrap())
    };
    let names: Vec<_> = nodes.iter().map(|node| split(node)).collect();
    let see = |own: &NodeName| {
        let others = names.iter().filter(|(_, name)| name != own);
        others
            .map(|(_, name)| Observation { subject: name.clone(), reachable: true, age: Duration::ZERO, handed: None })
            .collect()
    };
    let node = |(region, name): &(RegionName, NodeName)| {
        let own = Some(OwnState::Serving);
        let evidence = NodeEvidence {
            region: region.clone(),
            serves: true,
            own,
            pulse: FRESH,
            lag: Duration::ZERO,
            observations: see(name),
        };
        (name.clone(), evidence)
    };
    names.iter().map(node).collect()
}

fn three() -> BTreeMap<NodeName, NodeEvidence> {
    fleet(&["us/a", "eu/b", "ap/c"])
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn pulse(fleet: &mut BTreeMap<NodeName, NodeEvidence>, node: &str, pulse: Pulse) {
    fleet.get_mut(node).unwrap().pulse = pulse;
}

/// `observer` cannot reach `subject`.
fn blind(fleet: &mut BTreeMap<NodeName, NodeEvidence>, observer: &str, subject: &str) {
    for seen in &mut fleet.get_mut(observer).unwrap().observations {
        if seen.subject.as_str() == subject {
            seen.reachable = false;
        }
    }
}

/// What became of the last request that `observer` handed over to `subject`.
fn hand(fleet: &mut BTreeMap<NodeName, NodeEvidence>, observer: &str, subject: &str, taken: bool, age_ms: u64) {
    for seen in &mut fleet.get_mut(observer).unwrap().observations {
        if seen.subject.as_str() == subject {
            seen.handed = Some(Handed { taken, age: Duration::from_millis(age_ms) });
        }
    }
}

fn at(ms: u64) -> Now {
    Now { monotonic: Duration::from_millis(ms), unix_ms: i64::try_from(ms).unwrap() }
}

fn verdict(verdicts: &Verdicts, node: &str) -> NodeVerdict {
    verdicts[&name(node)].verdict
}

#[test]
fn the_rules_of_one_look() {
    type Change = fn(&mut BTreeMap<NodeName, NodeEvidence>);
    let check = |what: &str, change: Change, expected: NodeVerdict, text: &str| {
        let mut evidence = three();
        change(&mut evidence);
        let verdicts = judge(&Verdicts::new(), &evidence, at(0));
        assert_eq!(verdict(&verdicts, "a"), expected, "{what}");
        assert_eq!(verdicts[&name("a")].evidence, text, "{what}");
        for other in ["b", "c"].into_iter().filter(|other| evidence[&name(other)].pulse == FRESH) {
            assert_eq!(verdict(&verdicts, other), NodeVerdict::Serving, "{what}: {other}");
        }
    };
    use NodeVerdict::{Down, Draining, Serving, Unreachable};
    check("all is well", |_| {}, Serving, "pulse is fresh");
    check("C alone freezes", |f| pulse(f, "a", ENDED), Unreachable, "its pulse stream ended; ap, eu reach it; frozen");
    check(
        "C and one region of two freezes",
        |f| {
            pulse(f, "a", SILENT);
            blind(f, "b", "a");
        },
        Unreachable,
        "no pulse for 1.1 s; 1 of 2 regions cannot reach it; frozen",
    );
    check(
        "C and both other regions take it down",
        |f| {
            pulse(f, "a", SILENT);
            blind(f, "b", "a");
            blind(f, "c", "a");
        },
        Down,
        "no pulse for 1.1 s; 2 of 2 regions cannot reach it",
    );
    check(
        "P alone takes nothing down",
        |f| {
            blind(f, "b", "a");
            blind(f, "c", "a");
        },
        Serving,
        // Each of the two observers fails half of its probes of living nodes, which is not most.
        "pulse is fresh, but 2 of 2 regions cannot reach it",
    );
    check(
        "P and T take down what beats and serves nobody",
        |f| {
            blind(f, "b", "a");
            blind(f, "c", "a");
            hand(f, "c", "a", false, 2_000);
        },
        Down,
        "pulse is fresh, but 2 of 2 regions cannot reach it, and loses the requests that are handed over to it",
    );
    check("T alone takes nothing down", |f| hand(f, "c", "a", false, 0), Serving, "pulse is fresh");
    check(
        "T is contradicted by whose request was taken",
        |f| {
            blind(f, "b", "a");
            blind(f, "c", "a");
            hand(f, "b", "a", true, 0);
            hand(f, "c", "a", false, 0);
        },
        Serving,
        "pulse is fresh, but 2 of 2 regions cannot reach it",
    );
    check(
        "T of long ago says nothing",
        |f| {
            blind(f, "b", "a");
            blind(f, "c", "a");
            hand(f, "c", "a", false, 3_001);
        },
        Serving,
        "pulse is fresh, but 2 of 2 regions cannot reach it",
    );
    check(
        "a silent observer has no voice",
        |f| {
            pulse(f, "a", SILENT);
            pulse(f, "b", SILENT);
            blind(f, "b", "a");
            blind(f, "c", "a");
        },
        Unreachable,
        "no pulse for 1.1 s; 1 of 1 regions cannot reach it; frozen",
    );
    check(
        "an observer that reaches no living node abstains",
        |f| {
            pulse(f, "a", SILENT);
            blind(f, "b", "a");
            blind(f, "b", "c");
            blind(f, "c", "a");
        },
        Unreachable,
        "no pulse for 1.1 s; 1 of 1 regions cannot reach it; frozen",
    );
    check(
        "an observer that is late for its own timers abstains",
        |f| {
            pulse(f, "a", SILENT);
            blind(f, "b", "a");
            blind(f, "c", "a");
            f.get_mut("b").unwrap().lag = crate::TRUSTED_LAG + Duration::from_millis(1);
        },
        Unreachable,
        "no pulse for 1.1 s; 1 of 1 regions cannot reach it; frozen",
    );
    check("S lowers", |f| f.get_mut("a").unwrap().own = Some(OwnState::Draining), Draining, "says that it is stopping");
    check(
        "S and C take it down",
        |f| {
            f.get_mut("a").unwrap().own = Some(OwnState::Draining);
            pulse(f, "a", ENDED);
        },
        Down,
        "it said that it is stopping; its pulse stream ended",
    );
    check(
        "an old observation says nothing",
        |f| {
            pulse(f, "a", SILENT);
            for observer in ["b", "c"] {
                blind(f, observer, "a");
                f.get_mut(observer).unwrap().observations.iter_mut().for_each(|o| o.age = Duration::from_secs(4));
            }
        },
        Unreachable,
        "no pulse for 1.1 s; nobody else can say; frozen",
    );
}

#[test]
fn a_second_region_goes_down_on_the_word_of_the_last_one() {
    let mut evidence = three();
    pulse(&mut evidence, "a", ENDED);
    blind(&mut evidence, "b", "a");
    blind(&mut evidence, "c", "a");
    let verdicts = judge(&Verdicts::new(), &evidence, at(0));
    assert_eq!(verdict(&verdicts, "a"), NodeVerdict::Down);
    pulse(&mut evidence, "b", ENDED);
    blind(&mut evidence, "c", "b");
    let verdicts = judge(&verdicts, &evidence, at(1000));
    assert_eq!(verdict(&verdicts, "b"), NodeVerdict::Down);
    assert_eq!(verdict(&verdicts, "c"), NodeVerdict::Serving);
    assert_eq!(verdicts[&name("a")].since_unix_ms, 0);
}

#[test]
fn coming_back_takes_a_while_of_being_well() {
    let mut evidence = three();
    let down = Held::stored(NodeVerdict::Down, 0, "dead".to_owned());
    let mut verdicts = Verdicts::from([(name("a"), down)]);
    for (ms, expected) in [(0, NodeVerdict::Down), (2900, NodeVerdict::Down), (3000, NodeVerdict::Serving)] {
        verdicts = judge(&verdicts, &evidence, at(ms));
        assert_eq!(verdict(&verdicts, "a"), expected, "{ms}");
    }
    assert_eq!(verdicts[&name("a")].since_unix_ms, 3000);
    // A relapse on the way starts the hold again.
    verdicts.insert(name("a"), Held::stored(NodeVerdict::Down, 0, "dead".to_owned()));
    verdicts = judge(&verdicts, &evidence, at(10_000));
    pulse(&mut evidence, "a", SILENT);
    verdicts = judge(&verdicts, &evidence, at(12_000));
    pulse(&mut evidence, "a", FRESH);
    verdicts = judge(&verdicts, &evidence, at(13_000));
    assert_eq!(verdict(&verdicts, "a"), NodeVerdict::Down);
}

#[test]
fn a_node_that_comes_back_into_a_crowd_serves_again_though_it_is_full() {
    let mut evidence = three();
    evidence.get_mut(&name("a")).unwrap().own = Some(OwnState::Overloaded);
    let mut verdicts = Verdicts::from([(name("a"), Held::stored(NodeVerdict::Down, 0, "dead".to_owned()))]);
    for (ms, expected) in [(0, NodeVerdict::Down), (3000, NodeVerdict::Serving)] {
        verdicts = judge(&verdicts, &evidence, at(ms));
        assert_eq!(verdict(&verdicts, "a"), expected, "{ms}");
    }
    assert_eq!(verdicts[&name("a")].evidence, "pulse is fresh; says that it is overloaded");
}

#[test]
fn a_replica_that_just_started_keeps_what_the_store_says() {
    let mut evidence = three();
    let stored = Held::stored(NodeVerdict::Down, 7, "dead".to_owned());
    let verdicts = Verdicts::from([(name("a"), stored.clone())]);
    pulse(&mut evidence, "a", Pulse::Never { watching: Duration::from_secs(1) });
    pulse(&mut evidence, "b", Pulse::Never { watching: Duration::from_secs(1) });
    let verdicts = judge(&verdicts, &evidence, at(100));
    assert_eq!(verdicts[&name("a")], stored);
    assert_eq!(verdict(&verdicts, "b"), NodeVerdict::Unreachable);
}

#[test]
fn the_brake_freezes_a_region_that_seems_to_vanish_with_no_outsider_agreeing() {
    let mut evidence = fleet(&["us/a", "us/b", "us/c", "us/d"]);
    for subject in ["a", "b"] {
        pulse(&mut evidence, subject, ENDED);
        blind(&mut evidence, "c", subject);
        blind(&mut evidence, "d", subject);
    }
    let verdicts = judge(&Verdicts::new(), &evidence, at(0));
    assert_eq!(verdict(&verdicts, "a"), NodeVerdict::Unreachable);
    assert!(verdicts[&name("a")].evidence.contains("brake") && verdicts[&name("a")].braked);
    // One alone may go; a second one within the window may not.
    pulse(&mut evidence, "b", FRESH);
    blind(&mut evidence, "b", "a");
    let verdicts = judge(&Verdicts::new(), &evidence, at(0));
    assert_eq!(verdict(&verdicts, "a"), NodeVerdict::Down);
    pulse(&mut evidence, "b", ENDED);
    let verdicts = judge(&verdicts, &evidence, at(20_000));
    assert_eq!(verdict(&verdicts, "a"), NodeVerdict::Down);
    assert_eq!(verdict(&verdicts, "b"), NodeVerdict::Unreachable);
}

proptest! {
    #[test]
    fn however_nodes_vanish_no_more_go_down_in_half_a_minute_than_the_brake_allows(
        count in 2usize..16,
        looks in proptest::collection::vec((0usize..16, any::<bool>(), 0u64..12_000), 1..60),
    ) {
        let nodes: Vec<String> = (0..count).map(|i| format!("n{i}")).collect();
        let placed: Vec<String> = nodes.iter().map(|node| format!("us/{node}")).collect();
        let mut evidence = fleet(&placed.iter().map(String::as_str).collect::<Vec<_>>());
        let mut verdicts = judge(&Verdicts::new(), &evidence, at(0));
        let (mut now, mut fell): (u64, BTreeMap<NodeName, u64>) = (0, BTreeMap::new());
        for (which, is_lost, wait) in looks {
            now += wait;
            let node = &nodes[which % count];
            pulse(&mut evidence, node, if is_lost { ENDED } else { FRESH });
            for observer in evidence.values_mut() {
                for seen in observer.observations.iter_mut().filter(|seen| seen.subject.as_str() == node) {
                    seen.reachable = !is_lost;
                }
            }
            let next = judge(&verdicts, &evidence, at(now));
            let is_down = |verdicts: &Verdicts, node: &NodeName| verdicts[node].verdict == NodeVerdict::Down;
            for node in next.keys() {
                if !is_down(&next, node) {
                    fell.remove(node);
                } else if !is_down(&verdicts, node) {
                    fell.insert(node.clone(), now);
                }
            }
            let recent = fell.values().filter(|fell| now - **fell <= 30_000).count();
            prop_assert!(recent <= (count * 15 / 100).max(1), "{recent} of {count} at {now}");
            verdicts = next;
        }
    }

    #[test]
    fn a_node_whose_pulse_is_fresh_never_goes_down(
        silent in proptest::collection::vec(any::<bool>(), 6),
        cuts in proptest::collection::vec((0usize..6, 0usize..6), 0..20),
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut evidence = fleet(&["us/a", "us/b", "eu/c", "eu/d", "ap/e", "ap/f"]);
        for (node, _) in names.iter().zip(&silent).filter(|(_, silent)| **silent) {
            pulse(&mut evidence, node, SILENT);
        }
        for (observer, subject) in cuts {
            blind(&mut evidence, names[observer], names[subject]);
        }
        let verdicts = judge(&Verdicts::new(), &evidence, at(0));
        for (node, silent) in names.iter().zip(&silent) {
            prop_assert_eq!(*silent, verdict(&verdicts, node) != NodeVerdict::Serving);
        }
    }
}

#[test]
fn a_node_that_only_answers_dns_has_no_voice_about_others() {
    let mut evidence = fleet(&["us/a", "eu/b", "eu/dns", "ap/c"]);
    evidence.get_mut("dns").unwrap().serves = false;
    pulse(&mut evidence, "a", SILENT);
    blind(&mut evidence, "b", "a");
    blind(&mut evidence, "c", "a");
    let of_a = |evidence: &BTreeMap<_, _>| verdict(&judge(&Verdicts::new(), evidence, at(0)), "a");
    assert_eq!(of_a(&evidence), NodeVerdict::Down);
    evidence.get_mut("dns").unwrap().serves = true;
    assert_eq!(of_a(&evidence), NodeVerdict::Unreachable, "eu is torn");
}
