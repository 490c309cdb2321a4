//! The committed descriptor set of etcd-client, which spares the build a protoc, is made from that very release.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test set-up outside of test functions")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What etcd-client's build script compiles.
const PROTOS: [&str; 5] = [
    "etcd/api/authpb/auth.proto",
    "etcd/api/etcdserverpb/rpc.proto",
    "etcd/api/mvccpb/kv.proto",
    "etcd/server/etcdserver/api/v3election/v3electionpb/v3election.proto",
    "etcd/server/etcdserver/api/v3lock/v3lockpb/v3lock.proto",
];

#[test]
fn the_committed_set_is_what_protox_makes_of_the_locked_release() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (version, source) = etcd_client(&root);
    let protos = source.join("proto");
    let mut compiler = protox::Compiler::new([&protos]).unwrap();
    compiler.include_imports(true);
    compiler.open_files(PROTOS).unwrap();
    let made = compiler.encode_file_descriptor_set();

    let file = root.join(format!("tools/fds/etcd-client-{version}.fds"));
    let committed = std::fs::read(&file).unwrap_or_default();
    if committed != made {
        let new = std::env::temp_dir().join(format!("etcd-client-{version}.fds"));
        std::fs::write(&new, made).unwrap();
        panic!("{} is missing or differs; the right one is now {}", file.display(), new.display());
    }
}

/// The locked version and its source directory, as cargo knows them.
fn etcd_client(root: &Path) -> (String, PathBuf) {
    // Of the one that runs the test: what compiled it may have been moved since.
    let cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--offline"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "etcd-client").unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    (package["version"].as_str().unwrap().to_owned(), manifest.parent().unwrap().to_owned())
}
