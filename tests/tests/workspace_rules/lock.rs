//! The part of cargo-deny that needs no network: licences, bans and sources of everything in the lock file, by the
//! same `deny.toml`.

use serde::Deserialize;

use crate::metadata::{GRAPH, Package, root};

/// The keys of `deny.toml` that are read here.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

fn deny() -> Deny {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml is there");
    toml::from_str(&text).expect("deny.toml is TOML of the expected form")
}

/// Whether the expression holds with only these licences.
fn allowed(expression: &str, allow: &[&str]) -> bool {
    // Lax: `MIT/Apache-2.0` was the way to write `OR` before SPDX expressions.
    let parsed = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX);
    let allow: Vec<_> = allow.iter().map(|name| spdx::Licensee::parse(name).expect("an SPDX name")).collect();
    parsed.is_ok_and(|parsed| parsed.evaluate(|needed| allow.iter().any(|licensee| licensee.satisfies(needed))))
}

#[test]
fn an_expression_holds_only_with_allowed_licences() {
    let check = |expression, expected| {
        assert_eq!(allowed(expression, &["MIT", "Apache-2.0"]), expected, "{expression}");
    };
    check("MIT", true);
    check("MIT/Apache-2.0", true);
    check("GPL-3.0-only OR MIT", true);
    check("MIT AND BSD-3-Clause", false);
    check("GPL-3.0-only", false);
    check("no licence at all", false);
}

#[test]
fn every_package_has_an_allowed_licence() {
    let deny = deny();
    let third_party = |package: &&Package| package.source.is_some();
    let wrong: Vec<_> = GRAPH
        .packages
        .values()
        .filter(third_party)
        .filter(|package| {
            let own = deny.licenses.exceptions.iter().filter(|exception| exception.name == package.name);
            let mut allow: Vec<&str> = own.flat_map(|exception| &exception.allow).map(String::as_str).collect();
            allow.extend(deny.licenses.allow.iter().map(String::as_str));
            !package.licence.as_ref().is_some_and(|expression| allowed(expression, &allow))
        })
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.licence))
        .collect();
    assert!(wrong.is_empty(), "licences that deny.toml does not allow: {wrong:#?}");
}

#[test]
fn no_banned_package_is_in_the_lock_file() {
    // The lock file and not the resolved graph: it also names what other platforms would build.
    let text = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is there");
    let found: Vec<_> = deny()
        .bans
        .deny
        .into_iter()
        .filter(|ban| text.contains(&format!("name = \"{}\"\n", ban.name)))
        .map(|ban| format!("{}: {}", ban.name, ban.reason))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_package_comes_from_an_allowed_registry() {
    let allowed = deny().sources.allow_registry;
    for package in GRAPH.packages.values() {
        let Some(source) = &package.source else { continue };
        let from = source.strip_prefix("registry+").unwrap_or(source);
        assert!(allowed.iter().any(|registry| registry == from), "{} comes from {source}", package.name);
    }
}
