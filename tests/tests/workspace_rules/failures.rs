//! The table of failures (`tests/failures.toml`): every row is proved by tests that exist, or says what is missing.

use std::collections::BTreeSet;
use std::fs;

use serde::Deserialize;

use crate::metadata::root;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    row: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    failure: String,
    intended: String,
    tests: Vec<String>,
    /// What no test proves yet.
    later: Option<String>,
}

/// Whether the file has a test of that name, and not only a function.
fn is_there(named: &str) -> bool {
    let Some((file, name)) = named.split_once("::") else { return false };
    let Ok(text) = fs::read_to_string(root().join(file)) else { return false };
    if file.ends_with(".py") {
        return text.lines().any(|line| line.starts_with(&format!("def {name}(")));
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins =
        |line: &str| line.starts_with(&format!("fn {name}(")) || line.starts_with(&format!("async fn {name}("));
    let is_marked = |at: usize| {
        let before = lines.get(..at).unwrap_or_default().iter().rev();
        let mut attributes = before.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        attributes.any(|line| line.starts_with("#[") && line.contains("test"))
    };
    // In a `proptest!` the attribute stands before each function too.
    lines.iter().enumerate().any(|(at, line)| begins(line) && is_marked(at))
}

#[test]
fn every_failure_of_the_table_is_proved_by_tests_that_exist() {
    let text = fs::read_to_string(root().join("tests/failures.toml")).expect("the table can be read");
    let table: Table = toml::from_str(&text).expect("the table can be parsed");
    assert!(table.row.len() >= 15, "the table has only {} rows", table.row.len());
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for Row { failure, intended, tests, later } in &table.row {
        if !seen.insert(failure) || intended.is_empty() || (tests.is_empty() && later.is_none()) {
            wrong.push(format!("{failure}: named twice, or nothing is said about it"));
        }
        wrong.extend(tests.iter().filter(|test| !is_there(test)).map(|test| format!("{failure}: no test {test}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(!is_there("tests/tests/workspace_rules/failures.rs::is_there"), "a function is no test");
}
