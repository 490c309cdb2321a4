//! Questions to nodes, which any replica can ask.

use meridian_proto::admin::v1 as admin;
use meridian_proto::node::v1::{Explanation, FoundRequest, HandoverRecord, RequestRecord, query, reply};
use meridian_store::memory::MemoryStore;
use tonic::Code;

use super::node::Pulsing;
use super::sandbox::Replica;

const ID: &str = "eu_n1_0123456789abcdef";
/// One that `n1` handed over to `n2`.
const HANDED: &str = "eu_n1_00000000000000aa";

fn dns(name: &str, from: &str, node: &str) -> admin::ExplainDnsRequest {
    admin::ExplainDnsRequest { name: name.to_owned(), from: from.to_owned(), node: node.to_owned() }
}

/// Says where an answer to a DNS query comes from, and knows one request; a node without DNS knows none.
fn answer(name: &'static str) -> impl Fn(query::Question) -> reply::Answer + Send + 'static {
    move |question| match question {
        query::Question::ExplainDns(_) if name == "dnsless" => reply::Answer::Error(format!("{name} answers no DNS")),
        query::Question::ExplainDns(question) => {
            reply::Answer::Explanation(Explanation { lines: vec![format!("because of {}", question.from)] })
        }
        query::Question::FindRequest(question) => {
            let to_n2 = HandoverRecord { node: "n2".to_owned(), ..Default::default() };
            let handovers = if question.request_id == HANDED && name == "n1" { vec![to_n2] } else { Vec::new() };
            let record =
                |id: String| RequestRecord { request_id: id, node: name.to_owned(), handovers, ..Default::default() };
            let is_known = match question.request_id.as_str() {
                ID | "a-client's" => name == "n1",
                HANDED => true,
                _ => false,
            };
            let records = if is_known { vec![record(question.request_id)] } else { Vec::new() };
            reply::Answer::FoundRequest(FoundRequest { records, remembered: 512, oldest_unix_ms: 1_795_262_400_000 })
        }
    }
}

async fn pulses(replica: &mut Replica, names: &[&str]) {
    let heard = |node: &admin::FleetNode, name: &str| node.node == name && node.last_pulse_age_ms >= 0;
    let all = |fleet: &admin::Fleet| names.iter().all(|name| fleet.nodes.iter().any(|node| heard(node, name)));
    replica.fleet_with("the nodes pulse", all).await;
}

#[tokio::test]
async fn any_replica_asks_any_node_why_it_would_answer_so() {
    let store = MemoryStore::new(1);
    let mut one = Replica::start(&store, "cp-1").await;
    let mut two = Replica::start(&store, "cp-2").await;
    let good = || dns("api.example.com", "192.0.2.0/24", "");
    for (question, code, text) in [
        (good(), Code::Unavailable, "no node pulses to this replica (cp-1)"),
        (dns("api.example.com", "192.0.2.1", "n9"), Code::NotFound, "there is no node n9; there are: none"),
        (
            dns("api.example.com", "garbage", ""),
            Code::InvalidArgument,
            "\"garbage\" is neither an address nor a prefix",
        ),
        (dns("api..example", "192.0.2.1", ""), Code::InvalidArgument, "api..example"),
    ] {
        let refused = one.admin.explain_dns(question).await.unwrap_err();
        assert_eq!(refused.code(), code);
        assert!(refused.message().contains(text), "{refused}");
    }
    // A node keeps a pulse to every replica, and its configuration comes from one.
    let mut nodes = Vec::new();
    for replica in [&one, &two] {
        for name in ["dnsless", "n1"] {
            let node = Pulsing::start(replica.address, "eu", name, &[]).await;
            node.answer_with(answer(name));
            nodes.push(node);
        }
    }
    for replica in [&mut one, &mut two] {
        pulses(replica, &["n1", "dnsless"]).await;
        for name in ["", "n1"] {
            let found = replica.admin.explain_dns(dns("api.example.com", "192.0.2.0/24", name)).await.unwrap();
            let found = found.into_inner();
            let expected = vec!["because of 192.0.2.0/24".to_owned()];
            assert_eq!((found.node.as_str(), found.lines), ("n1", expected), "{name}");
        }
        let refused = replica.admin.explain_dns(dns("api.example.com", "192.0.2.1", "dnsless")).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("dnsless answers no DNS"), "{refused}");
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_request_is_found_by_its_id_and_what_is_not_remembered_is_told() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    let mut nodes = Vec::new();
    for name in ["n1", "n2"] {
        let node = Pulsing::start(replica.address, "eu", name, &[]).await;
        node.answer_with(answer(name));
        nodes.push(node);
    }
    pulses(&mut replica, &["n1", "n2"]).await;
    let find = async |id: &str| {
        let request = admin::FindRequestRequest { request_id: id.to_owned() };
        replica.admin.clone().find_request(request).await.map(|found| found.into_inner().records)
    };
    for id in [ID, "a-client's"] {
        let found = find(id).await.unwrap();
        assert_eq!((found.len(), found[0].node.as_str()), (1, "n1"), "{id}");
    }
    let found = find(HANDED).await.unwrap();
    let told_by: Vec<&str> = found.iter().map(|record| record.node.as_str()).collect();
    assert_eq!(told_by, ["n1", "n2"], "who was asked first, then who served");
    let since = "remembers the last 512, since 2026-11-21T12:00:00Z";
    let aged_out = find("eu_n2_0123456789abcdef").await.unwrap_err();
    assert_eq!(aged_out.code(), Code::NotFound);
    assert!(aged_out.message().ends_with(&format!("(n2 {since})")), "only the named node was asked: {aged_out}");
    let unknown = find("never-came").await.unwrap_err();
    assert!(unknown.message().ends_with(&format!("(n1 {since}; n2 {since})")), "{unknown}");
    assert_eq!(find("").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(find(&"x".repeat(129)).await.unwrap_err().code(), Code::InvalidArgument);
    replica.stop().await;
}
