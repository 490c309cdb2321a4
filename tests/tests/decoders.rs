//! Whatever comes from outside is taken or refused, never the end of the process: decoders under a seeded mutator.
//! `MERIDIAN_FUZZ_ROUNDS` sets how long.

#![expect(clippy::expect_used, reason = "test set-up outside of test functions")]

use std::sync::Arc;

use futures::executor::block_on;
use meridian_config::Source;
use meridian_control::backup;
use meridian_host::SystemClock;
use meridian_proto::content::Content;
use meridian_proto::{admin, convert, fleet, node};
use meridian_store::memory::MemoryStore;
use meridian_store::{Store, Txn};
use meridian_testkit::fuzz;
use meridian_types::Digest;
use prost::Message;

const CLUSTER: &str = "fuzz";

fn yaml() -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../examples/models.yaml"),
        include_str!("../../examples/providers.yaml"),
        include_str!("../../examples/regions.yaml"),
        include_str!("../../examples/tenant.yaml"),
        include_str!("../../examples/zone.yaml"),
    ];
    files.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// What the examples mean, as the wire carries it.
fn resources() -> Vec<meridian_proto::resources::v1::Resource> {
    let texts: Vec<String> = yaml().into_iter().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
    let sources: Vec<_> = texts.iter().map(|text| Source::new("example.yaml", text)).collect();
    meridian_config::load(&sources).expect("the examples are right").resources
}

#[test]
fn yaml_is_read_or_refused() {
    fuzz("YAML", &yaml(), |input| {
        let text = String::from_utf8_lossy(input);
        // Either is an answer.
        drop(meridian_config::load(&[Source::new("fuzzed.yaml", &text)]));
    });
}

#[test]
fn frames_of_both_lanes_are_read_or_refused() {
    let beat = node::v1::Beat { digest: vec![7; 32].into(), plan_number: 3, ..Default::default() };
    let body = node::v1::CommitBody { upserts: resources(), ..Default::default() };
    let corpus = [beat.encode_to_vec(), body.encode_to_vec()];
    fuzz("frames", &corpus, |input| {
        drop(node::v1::Beat::decode(input));
        drop(node::v1::BeatReply::decode(input));
        drop(node::v1::SyncRequest::decode(input));
        drop(node::v1::SyncResponse::decode(input));
        drop(node::v1::CommitBody::decode(input));
    });
}

#[test]
fn a_configuration_of_any_bytes_is_compiled_or_refused() {
    let corpus: Vec<Vec<u8>> =
        vec![admin::v1::ApplyRequest { upserts: resources(), ..Default::default() }.encode_to_vec()];
    fuzz("resources", &corpus, |input| {
        if let Ok(request) = admin::v1::ApplyRequest::decode(input) {
            drop(Content::from_resources(request.upserts).configuration());
        }
    });
}

#[test]
fn a_plan_of_any_bytes_is_checked_or_refused() {
    let shares = || vec![fleet::v1::Share { region: "eu-west".to_owned(), permille: 1000 }];
    let region = fleet::v1::RegionPlan {
        region: "eu-west".to_owned(),
        state: 1,
        weight: 1000,
        target_weight: 1000,
        placement: shares(),
        addresses: vec!["192.0.2.1".to_owned()],
        capacity: 8,
        demand: 1.5,
        ..Default::default()
    };
    let plan = fleet::v1::Plan { number: 1, regions: vec![region], ..Default::default() };
    assert!(convert::plan(&plan).is_ok(), "the corpus is right");
    fuzz("plans", &[plan.encode_to_vec()], |input| {
        if let Ok(message) = fleet::v1::Plan::decode(input)
            && let Ok(plan) = convert::plan(&message)
        {
            assert!(plan.check().is_ok(), "a plan that breaks its promises was taken");
        }
    });
}

#[test]
fn a_backup_of_any_bytes_is_restored_or_refused() {
    let store = Arc::new(MemoryStore::with_clock(1, || std::time::Duration::ZERO));
    let head = Txn::new().put(format!("/meridian/{CLUSTER}/head"), vec![8, 1, 16, 1]);
    block_on(store.txn(head)).expect("the memory store writes");
    let (file, _) = block_on(backup::take(&*store, CLUSTER, &SystemClock)).expect("a backup");
    fuzz("backups", &[file], |input| {
        // Once as it is, once with a digest that is right again, so that what lies behind it is reached.
        for file in [input.to_vec(), signed(input)] {
            let store = MemoryStore::with_clock(2, || std::time::Duration::ZERO);
            drop(block_on(backup::restore(&store, CLUSTER, &file, false)));
        }
    });
}

/// The file with the digest of what follows its first line.
fn signed(file: &[u8]) -> Vec<u8> {
    let end = file.iter().position(|byte| *byte == b'\n').map_or(file.len(), |end| end + 1);
    let body = file.get(end..).unwrap_or_default();
    [format!("meridian-backup 1 {}\n", Digest::of(body)).as_bytes(), body].concat()
}
