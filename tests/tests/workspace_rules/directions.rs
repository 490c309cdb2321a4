//! Arrows between crates point down: the table of ARCHITECTURE.md, as a test.

use std::collections::BTreeSet;

use crate::metadata::{GRAPH, Package};

/// Crates from the bottom up. A crate uses crates of lower rows only.
const ROWS: [(&str, &[&str]); 7] = [
    ("base", &["types", "lifecycle", "telemetry", "sse", "host"]),
    ("contracts", &["proto", "config", "store", "identity"]),
    ("model", &["llm", "providers", "store-etcd"]),
    ("policy", &["routing", "resilience", "health", "quota", "cache", "privacy"]),
    ("planes", &["node", "ingress", "upstream", "control", "control-client", "dns", "dns-publish"]),
    ("assembly", &["dev", "testkit", "sim"]),
    ("apps", &["meridian", "tests", "bench"]),
];

/// Edges inside a row.
const NEIGHBOURS: [(&str, &str, &str); 7] = [
    ("config", "proto", "YAML becomes messages"),
    ("providers", "llm", "codecs translate to and from the canonical model"),
    ("node", "ingress", "the data plane's own HTTP surface"),
    ("node", "upstream", "the data plane's own way out"),
    ("node", "control-client", "the node's side of the lanes; the one crossing between planes"),
    ("node", "dns", "a node may answer DNS itself"),
    ("dev", "sim", "a provider to try it with"),
];

/// Crates that one third-party crate is confined to.
const CONFINED: [(&str, &[&str]); 6] = [
    ("axum", &["ingress"]),
    ("etcd-client", &["store-etcd"]),
    ("hickory-proto", &["dns", "dns-publish"]),
    ("hickory-server", &["dns", "dns-publish"]),
    ("redb", &["store"]),
    ("rcgen", &["identity"]),
];

/// Crates that open no socket: nothing that could is compiled into them.
const WITHOUT_IO: [&str; 5] = ["providers", "routing", "llm", "sse", "health"];

/// What a crate would open a socket with.
const IO: [&str; 8] = ["tokio", "hyper", "hyper-util", "tonic", "axum", "reqwest", "socket2", "mio"];

/// The name without the prefix that packages carry and directories do not.
fn short(name: &str) -> &str {
    name.strip_prefix("meridian-").unwrap_or(name)
}

fn row(name: &str) -> Option<usize> {
    ROWS.iter().position(|(_, crates)| crates.contains(&name))
}

/// Our packages that `package` names. Tests may look sideways and up, but what is built may not.
fn own_edges(package: &Package) -> impl Iterator<Item = &str> {
    let named = package.named.iter().filter(|(kind, _)| kind != "dev").map(|(_, name)| name.as_str());
    named.filter(|name| GRAPH.own().any(|own| own.name == *name)).map(short)
}

#[test]
fn every_crate_stands_in_the_table() {
    let missing: Vec<_> = GRAPH.own().map(|package| short(&package.name)).filter(|name| row(name).is_none()).collect();
    assert!(missing.is_empty(), "give these crates a row, here and in ARCHITECTURE.md: {missing:?}");
}

#[test]
fn crates_use_only_lower_rows() {
    let mut wrong = Vec::new();
    for package in GRAPH.own() {
        let from = short(&package.name);
        for to in own_edges(package) {
            let neighbour = NEIGHBOURS.iter().any(|(a, b, _)| (*a, *b) == (from, to));
            if row(to) >= row(from) && !neighbour {
                wrong.push(format!("{from} -> {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point down: {wrong:#?}");
}

#[test]
fn confined_libraries_stay_where_they_are() {
    let mut wrong = Vec::new();
    for package in GRAPH.own().filter(|package| short(&package.name) != "tests") {
        for (library, homes) in CONFINED {
            let names = package.named.iter().any(|(kind, name)| kind != "dev" && name == library);
            if names && !homes.contains(&short(&package.name)) {
                wrong.push(format!("{} names {library}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn decisions_open_no_socket() {
    for name in WITHOUT_IO {
        let tree = GRAPH.tree(&format!("meridian-{name}"));
        let found: Vec<_> = IO.iter().filter(|library| tree.contains(*library)).collect();
        assert!(found.is_empty(), "{name} could open a socket with {found:?}");
    }
}

#[test]
fn the_two_planes_are_not_in_each_others_tree() {
    let check = |plane: &str, absent: &[&str]| {
        let tree: BTreeSet<_> = GRAPH.tree(plane).into_iter().collect();
        for name in absent {
            assert!(!tree.contains(name), "{plane} has {name} in its tree");
        }
    };
    check("meridian-control", &["meridian-node", "meridian-ingress", "meridian-upstream", "meridian-dns"]);
    check("meridian-node", &["meridian-control", "meridian-store", "meridian-store-etcd"]);
    check("meridian-dns", &["meridian-node", "meridian-control", "meridian-store"]);
}

#[test]
fn the_simulator_shares_no_codec_with_what_it_tests() {
    let tree = GRAPH.tree("meridian-sim");
    for name in ["meridian-llm", "meridian-providers", "meridian-sse"] {
        assert!(!tree.contains(name), "the simulator has {name} in its tree");
    }
}
