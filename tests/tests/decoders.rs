//! Whatever comes from outside is taken or refused, never the end of the process: decoders under a seeded mutator.
//! Together with those of the last-known-good file and of DNS packets they take about a minute of one core, unoptimised;
//! `MERIDIAN_FUZZ_ROUNDS` sets how long.
//!
//! The corpus is made here, not kept as files: so it follows the schema, and a new field is in it as soon as somebody fills
//! it. What was found to break a decoder becomes a test of its own beside that decoder.

#![expect(clippy::expect_used, reason = "test set-up outside of test functions")]

use std::sync::Arc;

use futures::executor::block_on;
use meridian_config::Source;
use meridian_control::backup;
use meridian_host::SystemClock;
use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_proto::node::v1::{sync_request, sync_response};
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
    fuzz("YAML", 50_000, &yaml(), |input| {
        let text = String::from_utf8_lossy(input);
        // Either is an answer.
        drop(meridian_config::load(&[Source::new("fuzzed.yaml", &text)]));
    });
}

/// Every message of both lanes, filled as on a busy day.
fn frames() -> Vec<Vec<u8>> {
    let text = || "eu-west-1".to_owned();
    let bytes = || bytes::Bytes::from(vec![7; 32]);
    let identity = node::v1::NodeIdentity {
        node: text(),
        incarnation: 9,
        region: "eu-west".to_owned(),
        cell: "a".to_owned(),
        build: "1".to_owned(),
        role: node::v1::Role::Node.into(),
        public_addresses: vec!["192.0.2.1:443".to_owned()],
        max_in_flight: 100,
        peer_address: "192.0.2.1:7200".to_owned(),
    };
    let key = meridian_proto::resources::v1::Key {
        id: text(),
        hash: bytes(),
        tenant: "acme".to_owned(),
        label: text(),
        created_at_unix_ms: 1,
        expires_at_unix_ms: 2,
        revoked_at_unix_ms: 3,
    };
    let body = node::v1::CommitBody {
        commit: 4,
        base: 3,
        upserts: resources(),
        removals: vec![meridian_proto::resources::v1::ResourceRef { kind: "Zone".to_owned(), name: text() }],
        digest: bytes(),
    };
    let fault = node::v1::Fault {
        kind: "Zone".to_owned(),
        name: text(),
        field_path: "records[0]".to_owned(),
        code: "conflict".to_owned(),
        text: text(),
    };
    let record = node::v1::RequestRecord {
        request_id: text(),
        attempts: vec![node::v1::AttemptRecord { provider: text(), began_ms: 1, took_ms: 2, ..Default::default() }],
        passed_over: vec![node::v1::PassedOver { target: text(), at_ms: 1, why: text() }],
        handovers: vec![node::v1::HandoverRecord { node: text(), took_ms: 3, ..Default::default() }],
        planned: vec![text()],
        first_content_ms: Some(5),
        ..Default::default()
    };
    let answers = [
        node::v1::reply::Answer::Explanation(node::v1::Explanation { lines: vec![text()] }),
        node::v1::reply::Answer::Error(text()),
        node::v1::reply::Answer::FoundRequest(node::v1::FoundRequest { records: vec![record], ..Default::default() }),
    ];
    let counts = vec![node::v1::ClassCount { class: "timeout".to_owned(), count: 3 }];
    let report = node::v1::Report {
        window_ms: 1000,
        requests_started: 300,
        errors: counts.clone(),
        first_token_p50_ms: 120.5,
        targets: vec![node::v1::TargetReport {
            provider: text(),
            failures: counts,
            first_token_ewma_ms: 99.0,
            ..Default::default()
        }],
        observations: vec![node::v1::Observation {
            node: text(),
            streak: 2,
            handed: Some(node::v1::Handed { taken: true, age_ms: 10, streak: 1 }),
            ..Default::default()
        }],
        dns: Some(node::v1::DnsServed {
            plan_epoch: 1,
            plan_number: 2,
            regions: vec![node::v1::DnsRegion { region: text(), permille: 333, ..Default::default() }],
        }),
        left_out: vec![fleet::v1::LeftOut { region: text(), since_unix_ms: 7, until_unix_ms: 8 }],
        ..Default::default()
    };
    let beat = node::v1::Beat {
        sequence: 7,
        identity: Some(identity.clone()),
        digest: bytes(),
        plan_number: 3,
        report: Some(report),
        replies: answers
            .into_iter()
            .zip(1..)
            .map(|(answer, id)| node::v1::Reply { id, answer: Some(answer) })
            .collect(),
        refused_commit: 4,
        refusal: text(),
        ..Default::default()
    };
    let questions = [
        node::v1::query::Question::ExplainDns(node::v1::ExplainDns { name: text(), from: "192.0.2.0/24".to_owned() }),
        node::v1::query::Question::FindRequest(node::v1::FindRequest { request_id: text() }),
    ];
    let spec = fleet::v1::FaultSpec {
        provider: text(),
        share_permille: 500,
        kind: Some(fleet::v1::fault_spec::Kind::LatencyMs(250)),
        ..Default::default()
    };
    let injected = fleet::v1::InjectedFault { id: text(), spec: Some(spec), ..Default::default() };
    let scope = fleet::v1::SwitchScope { provider: text(), model: text(), region: text() };
    let switch = fleet::v1::Switch { scope: Some(scope), author: text(), reason: text(), ..Default::default() };
    let outage =
        fleet::v1::UpstreamOutage { provider: text(), model: text(), regions: vec![text()], ..Default::default() };
    let reply = node::v1::BeatReply {
        sequence_echo: 7,
        replica: text(),
        plan: Some(plan()),
        peers: Some(node::v1::PeerList {
            peers: vec![node::v1::Peer { node: text(), region: text(), address: text(), peer_address: text() }],
        }),
        cluster_id: 0xfeed,
        queries: questions
            .into_iter()
            .zip(1..)
            .map(|(question, id)| node::v1::Query { id, question: Some(question) })
            .collect(),
        faults: Some(node::v1::FaultList {
            epoch: 1,
            revision: 2,
            faults: vec![node::v1::ActiveFault { fault: Some(injected), left_ms: 1000 }],
        }),
        outages: Some(node::v1::OutageList { epoch: 1, revision: 3, outages: vec![outage] }),
        leaderless: true,
        look: true,
        switches: Some(node::v1::SwitchList {
            epoch: 1,
            revision: 4,
            switches: vec![node::v1::ActiveSwitch { switch: Some(switch), left_ms: Some(1000) }],
        }),
    };
    let hello = node::v1::Hello {
        proto_min: 1,
        proto_max: 1,
        identity: Some(identity),
        commit_held: 3,
        digest_held: bytes(),
        account_digests: vec![5; 256 * 8].into(),
        ..Default::default()
    };
    let up = [
        sync_request::Message::Hello(hello),
        sync_request::Message::Ack(node::v1::Ack { commit: 3, digest: bytes(), applied_us: 800 }),
        sync_request::Message::Nack(node::v1::Nack { commit: 4, faults: vec![fault] }),
    ];
    let data = body.encode_to_vec();
    let accounts = node::v1::AccountUpdate {
        replaced_buckets: vec![0, 255],
        tenants: vec![meridian_proto::resources::v1::Tenant { name: "acme".to_owned(), ..Default::default() }],
        keys: vec![key],
        removed_tenants: vec!["old".to_owned()],
        removed_keys: vec![bytes()],
    };
    let down = [
        sync_response::Message::Welcome(node::v1::Welcome { proto: 1, replica: text(), cluster_id: 9, epoch: 1 }),
        sync_response::Message::Commit(node::v1::CommitChunk {
            commit: 4,
            index: 0,
            count: 1,
            data: data.clone().into(),
        }),
        sync_response::Message::Accounts(accounts),
        sync_response::Message::Goaway(node::v1::Goaway { reason: text(), reconnect_after_ms: 100 }),
    ];
    let up = up.map(|message| node::v1::SyncRequest { message: Some(message) }.encode_to_vec());
    let down = down.map(|message| node::v1::SyncResponse { message: Some(message) }.encode_to_vec());
    [beat.encode_to_vec(), reply.encode_to_vec(), data].into_iter().chain(up).chain(down).collect()
}

#[test]
fn frames_of_both_lanes_are_read_or_refused() {
    fuzz("frames", 1_500_000, &frames(), |input| {
        drop(node::v1::Beat::decode(input));
        drop(node::v1::SyncRequest::decode(input));
        if let Ok(reply) = node::v1::BeatReply::decode(input) {
            drop(reply.plan.as_ref().map(convert::plan));
        }
        if let Ok(response) = node::v1::SyncResponse::decode(input)
            && let Some(sync_response::Message::Accounts(update)) = response.message
        {
            drop(Accounts::default().apply(&update));
        }
        if let Ok(body) = node::v1::CommitBody::decode(input) {
            let mut content = Content::default();
            content.apply(body.upserts, body.removals);
        }
    });
}

#[test]
fn a_configuration_of_any_bytes_is_compiled_or_refused() {
    let corpus: Vec<Vec<u8>> =
        vec![admin::v1::ApplyRequest { upserts: resources(), ..Default::default() }.encode_to_vec()];
    fuzz("resources", 300_000, &corpus, |input| {
        if let Ok(request) = admin::v1::ApplyRequest::decode(input) {
            drop(Content::from_resources(request.upserts).configuration());
        }
    });
}

/// One that holds its promises.
fn plan() -> fleet::v1::Plan {
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
    fleet::v1::Plan { number: 1, regions: vec![region], ..Default::default() }
}

#[test]
fn a_plan_of_any_bytes_is_checked_or_refused() {
    let plan = plan();
    assert!(convert::plan(&plan).is_ok(), "the corpus is right");
    fuzz("plans", 2_000_000, &[plan.encode_to_vec()], |input| {
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
    fuzz("backups", 500_000, &[file], |input| {
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
