//! What cargo knows about the workspace: packages, and who depends on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// A package of the lock file, ours or a third party's.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression; older packages write `/` for `OR`.
    pub(crate) licence: Option<String>,
    /// Where it comes from; none for our own.
    pub(crate) source: Option<String>,
    pub(crate) manifest: PathBuf,
    /// Packages that it names, by kind: `normal`, `dev` or `build`.
    pub(crate) named: BTreeSet<(String, String)>,
}

/// The whole graph.
pub(crate) struct Graph {
    pub(crate) packages: BTreeMap<String, Package>,
    /// Ids of our own packages.
    pub(crate) members: BTreeSet<String>,
    /// Resolved edges without those for tests: id to ids.
    edges: BTreeMap<String, BTreeSet<String>>,
}

/// Read once for all tests: cargo takes a good part of a second.
pub(crate) static GRAPH: LazyLock<Graph> = LazyLock::new(Graph::read);

/// The directory of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies inside the workspace")
}

impl Graph {
    fn read() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--offline", "--locked", "--all-features"])
            .current_dir(root())
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
        let packages =
            list(&metadata["packages"]).map(|package| (text(&package["id"]), read_package(package))).collect();
        let members = list(&metadata["workspace_members"]).map(text).collect();
        let edges = list(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), read_edges(node))).collect();
        Self { packages, members, edges }
    }

    /// Our packages.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().map(|id| &self.packages[id])
    }

    /// Names of everything that is compiled into `package`.
    pub(crate) fn tree(&self, package: &str) -> BTreeSet<&str> {
        let start = self.members.iter().find(|id| self.packages[*id].name == package);
        let mut seen = BTreeSet::new();
        let mut left: Vec<&String> = vec![start.unwrap_or_else(|| panic!("no package {package}"))];
        while let Some(id) = left.pop() {
            left.extend(self.edges[id].iter().filter(|next| seen.insert(next.as_str())));
        }
        seen.into_iter().map(|id| self.packages[id].name.as_str()).collect()
    }
}

fn read_package(package: &Value) -> Package {
    let named = list(&package["dependencies"]).map(|dependency| {
        let kind = dependency["kind"].as_str().unwrap_or("normal");
        (kind.to_owned(), text(&dependency["name"]))
    });
    Package {
        name: text(&package["name"]),
        version: text(&package["version"]),
        licence: package["license"].as_str().map(str::to_owned),
        source: package["source"].as_str().map(str::to_owned),
        manifest: text(&package["manifest_path"]).into(),
        named: named.collect(),
    }
}

/// Edges of one node, without those that only tests use.
fn read_edges(node: &Value) -> BTreeSet<String> {
    let for_users = |edge: &&Value| list(&edge["dep_kinds"]).any(|kind| kind["kind"].as_str() != Some("dev"));
    list(&node["deps"]).filter(for_users).map(|edge| text(&edge["pkg"])).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
