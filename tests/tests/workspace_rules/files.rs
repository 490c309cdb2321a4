//! What the workspace's files look like.

use std::fs;
use std::path::{Path, PathBuf};

use crate::metadata::{GRAPH, root};

/// Longest hand-written source file.
const MAX_LINES: usize = 600;
/// Directories deeper than this are not ours.
const MAX_DEPTH: usize = 12;

fn sources(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    assert!(depth < MAX_DEPTH, "{} is too deep", directory.display());
    for entry in fs::read_dir(directory).expect("a directory can be read") {
        let entry = entry.expect("an entry can be read");
        let path = entry.path();
        if entry.file_type().expect("an entry has a type").is_dir() {
            sources(&path, depth + 1, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every Rust file of the workspace; generated code lies in the target directory and is not among them.
fn rust_files() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for directory in ["crates", "tests"] {
        sources(&root().join(directory), 0, &mut found);
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is text");
        (path, text)
    };
    let files: Vec<_> = found.into_iter().map(read).collect();
    assert!(files.len() > 100, "only {} files were found: this test looks in the wrong place", files.len());
    files
}

fn assert_none(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}: {wrong:#?}");
}

#[test]
fn every_source_file_opens_by_saying_what_it_is() {
    let dumb = rust_files().into_iter().filter(|(_, text)| {
        let first = text.lines().next().unwrap_or_default();
        !first.starts_with("//! ") || first.trim_end().len() < "//! what".len()
    });
    let dumb: Vec<_> = dumb.map(|(path, _)| path.display().to_string()).collect();
    assert_none(&dumb, "files that do not open with a `//!` line");
}

#[test]
fn no_source_file_is_too_long_to_read() {
    let long = rust_files().into_iter().filter(|(_, text)| text.lines().count() > MAX_LINES);
    let long: Vec<_> = long.map(|(path, text)| format!("{}: {}", path.display(), text.lines().count())).collect();
    assert_none(&long, "files over 600 lines");
}

#[test]
fn every_crate_inherits_the_workspaces_lints_and_licence() {
    let mut wrong = Vec::new();
    for package in GRAPH.own() {
        let text = fs::read_to_string(&package.manifest).expect("a manifest is text");
        for line in
            ["[lints]\nworkspace = true", "license.workspace = true", "publish.workspace = true", "description = "]
        {
            if !text.contains(line) {
                wrong.push(format!("{} lacks {line:?}", package.manifest.display()));
            }
        }
    }
    assert_none(&wrong, "manifests that go their own way");
}

#[test]
fn third_party_versions_stand_in_one_place() {
    let mut wrong = Vec::new();
    for package in GRAPH.own() {
        let text = fs::read_to_string(&package.manifest).expect("a manifest is text");
        let mut dependencies = false;
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            if line.starts_with('[') {
                dependencies = line.contains("dependencies");
            } else if dependencies
                && line.contains('=')
                && !line.contains("workspace = true")
                && !line.contains("path = \".\"")
            {
                wrong.push(format!("{}: {line}", package.name));
            }
        }
    }
    assert_none(&wrong, "declare these in the workspace's Cargo.toml");
}

#[test]
fn the_licence_is_the_one_that_manifests_name() {
    let licence = fs::read_to_string(root().join("LICENSE")).expect("LICENSE is there");
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0"), "LICENSE is not Apache-2.0");
    for package in GRAPH.own() {
        assert_eq!(package.licence.as_deref(), Some("Apache-2.0"), "{}", package.name);
    }
}
