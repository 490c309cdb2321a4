//! Compiles the top-level `proto/` with protox, a protobuf compiler in Rust: no protoc is needed.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;

/// Packages whose JSON form is needed: resources are written as YAML, plans and the fleet are printed.
const JSON_PACKAGES: [&str; 5] =
    [".meridian.resources.v1", ".meridian.fleet.v1", ".meridian.node.v1", ".meridian.admin.v1", ".meridian.store.v1"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let set = protox::compile(&files, [root])?;
    let descriptors = set.encode_to_vec();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("meridian.fds"), &descriptors)?;
    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .bytes(".")
        .compile_fds(set)?;
    pbjson_build::Builder::new()
        .preserve_proto_field_names()
        .register_descriptors(&descriptors)?
        .build(&JSON_PACKAGES)?;
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
