//! The kill switch: what is refused, how it comes to nodes, who is told, how it ends.

use meridian_proto::admin::v1 as admin;
use meridian_proto::admin::v1::event::Kind as EventKind;
use meridian_proto::admin::v1::explain_request::Subject;
use meridian_proto::admin::v1::watch_events_response::Message;
use meridian_proto::fleet::v1::{Switch, SwitchScope};
use meridian_proto::store::v1 as stored;
use meridian_store::memory::MemoryStore;
use meridian_store::{Store, Txn};
use tonic::{Code, Status};

use super::node::Pulsing;
use super::sandbox::{LIMIT, Replica, apply, everything, request_id};
use crate::store::{Layout, document};

fn scope(provider: &str, model: &str, region: &str) -> SwitchScope {
    let [provider, model, region] = [provider, model, region].map(str::to_owned);
    SwitchScope { provider, model, region }
}

fn request(scope: SwitchScope, for_ms: u64) -> admin::SwitchOffRequest {
    let reason = "key leaked".to_owned();
    admin::SwitchOffRequest { request_id: request_id(), scope: Some(scope), for_ms, reason }
}

async fn on(replica: &mut Replica, scope: SwitchScope) -> Result<admin::SwitchOnResponse, Status> {
    let reason = "rotated".to_owned();
    let request = admin::SwitchOnRequest { request_id: request_id(), scope: Some(scope), reason };
    replica.admin.switch_on(request).await.map(tonic::Response::into_inner)
}

async fn listed(replica: &mut Replica) -> Vec<SwitchScope> {
    let listed = replica.admin.list_switches(admin::ListSwitchesRequest {}).await.unwrap().into_inner();
    listed.switches.into_iter().map(|switch| switch.scope.unwrap()).collect()
}

/// Waits until a node was told of exactly these.
async fn told(node: &mut Pulsing, expected: &[SwitchScope]) {
    let is = |scopes: &Option<Vec<SwitchScope>>| scopes.as_deref() == Some(expected);
    tokio::time::timeout(LIMIT, node.switches.wait_for(is)).await.expect("the node is told").unwrap();
}

async fn explained(replica: &mut Replica, target: &str) -> String {
    let request = admin::ExplainRequest { subject: Some(Subject::Target(target.to_owned())) };
    replica.admin.explain(request).await.unwrap().into_inner().lines.join("\n")
}

#[tokio::test]
async fn what_means_nothing_is_refused_and_the_number_is_bounded() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let good = || scope("openai", "gpt", "eu");
    let no_reason = admin::SwitchOffRequest { reason: " ".to_owned(), ..request(good(), 0) };
    for (request, code, text) in [
        (request(scope("", "", "eu"), 0), Code::InvalidArgument, "must name a provider"),
        (request(good(), 999), Code::InvalidArgument, "at least 1000, or 0"),
        (no_reason, Code::InvalidArgument, "must say why"),
        (request(scope("nobody", "", ""), 0), Code::NotFound, "there is no provider nobody; there are: openai"),
        (request(scope("openai", "x", ""), 0), Code::NotFound, "there are: gpt"),
        (request(scope("openai", "", "mars"), 0), Code::NotFound, "there is no region mars; there are: ap, eu, us"),
    ] {
        let refused = replica.admin.switch_off(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{request:?}: {refused}");
        assert!(refused.message().contains(text), "{refused}");
    }
    replica.admin.switch_off(request(good(), 0)).await.unwrap();
    // The same again gets new terms, and is still one.
    replica.admin.switch_off(request(good(), 60_000)).await.unwrap();
    assert_eq!(listed(&mut replica).await, [good()]);
    let unknown = on(&mut replica, scope("openai", "", "")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().ends_with("switched off: openai:gpt from eu"), "{unknown}");
    // One that is off gets new terms also when there is no room for another; those of before are kept.
    let mut switches = replica.admin.list_switches(admin::ListSwitchesRequest {}).await.unwrap().into_inner().switches;
    let gone = |n: usize| Switch { scope: Some(scope(&format!("gone-{n}"), "", "")), ..switches[0].clone() };
    let others: Vec<_> = (1..64).map(gone).collect();
    switches.extend(others);
    let full = stored::Switches { form: document::FORM, switches, ..stored::Switches::default() };
    store.txn(Txn::new().put(Layout::new("test").switches(), document::write(&full))).await.unwrap();
    let other = scope("openai", "gpt", "us");
    let refused = replica.admin.switch_off(request(other.clone(), 0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().starts_with("64 switches are off already; put one back first"), "{refused}");
    replica.admin.switch_off(request(good(), 0)).await.unwrap();
    on(&mut replica, scope("gone-1", "", "")).await.unwrap();
    replica.admin.switch_off(request(other, 0)).await.unwrap();
    replica.stop().await;
}

#[tokio::test]
async fn a_switch_reaches_nodes_of_every_replica_is_told_to_who_asks_and_ends_at_a_word_or_at_its_time() {
    let store = MemoryStore::new(1);
    let mut one = Replica::start(&store, "cp-1").await;
    one.apply(apply(0, everything(), Vec::new())).await;
    let mut two = Replica::start(&store, "cp-2").await;
    let mut node = Pulsing::start(two.address, "eu", "n1", &[]).await;
    told(&mut node, &[]).await;
    let watch = admin::WatchEventsRequest { cursor: String::new() };
    let mut events = two.admin.watch_events(watch).await.unwrap().into_inner();

    let (whole, model) = (scope("openai", "", ""), scope("openai", "gpt", "eu"));
    let call = request(whole.clone(), 0);
    let first = one.admin.switch_off(call.clone()).await.unwrap().into_inner();
    assert_eq!(one.admin.switch_off(call).await.unwrap().into_inner(), first, "repeating it is harmless");
    told(&mut node, std::slice::from_ref(&whole)).await;
    one.admin.switch_off(request(model.clone(), 1_500)).await.unwrap();
    told(&mut node, &[whole.clone(), model.clone()]).await;
    let text = explained(&mut two, "openai:gpt").await;
    assert!(text.starts_with("SWITCHED OFF since "), "{text}");
    assert!(text.contains("openai, until it is released, by anonymous@127.0.0.1: key leaked"), "{text}");
    assert!(text.contains("openai:gpt from eu, until 20"), "{text}");
    let fleet = two.admin.get_fleet(admin::GetFleetRequest {}).await.unwrap().into_inner();
    assert_eq!(fleet.switches.len(), 2);
    // The second ends by itself; the leader clears it away.
    told(&mut node, std::slice::from_ref(&whole)).await;
    assert_eq!(on(&mut one, model.clone()).await.unwrap_err().code(), Code::NotFound);
    one.admin.switch_off(request(model.clone(), 0)).await.unwrap();
    let released = on(&mut one, whole.clone()).await.unwrap();
    let remaining: Vec<_> = released.remaining.into_iter().filter_map(|switch| switch.scope).collect();
    assert_eq!(remaining, std::slice::from_ref(&model));
    on(&mut one, model.clone()).await.unwrap();
    told(&mut node, &[]).await;
    assert_eq!(listed(&mut one).await, []);

    let expected = [
        ("openai", "switched off: openai, until it is released, by anonymous@127.0.0.1: key leaked"),
        ("openai:gpt", "switched off: openai:gpt from eu, until 20"),
        ("openai:gpt", "on again: openai:gpt from eu, at its time"),
        ("openai:gpt", "switched off: openai:gpt from eu, until it is released"),
        ("openai", "on again: openai, by anonymous@127.0.0.1: rotated"),
        ("openai:gpt", "on again: openai:gpt from eu, by anonymous@127.0.0.1: rotated"),
    ];
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        let response = tokio::time::timeout(LIMIT, events.message()).await.expect("an event").unwrap().unwrap();
        if let Some(Message::Event(event)) = response.message
            && event.kind() == EventKind::Switch
        {
            seen.push((event.subject, event.text));
        }
    }
    for ((subject, text), (name, beginning)) in seen.iter().zip(expected) {
        assert!(subject == name && text.starts_with(beginning), "{subject} {text}");
    }
    let audit = one.admin.audit(admin::AuditRequest::default()).await.unwrap().into_inner();
    let summaries: Vec<_> = audit.records.iter().map(|entry| (entry.call.as_str(), entry.summary.as_str())).collect();
    assert!(
        summaries
            .iter()
            .any(|(call, text)| *call == "switch_on" && text.starts_with("switched on; it was off: openai,")),
        "{summaries:?}"
    );
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_switch_outlives_every_replica() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    replica.admin.switch_off(request(scope("openai", "", ""), 0)).await.unwrap();
    replica.stop().await;
    let replica = Replica::start(&store, "cp-2").await;
    let mut node = Pulsing::start(replica.address, "eu", "n1", &[]).await;
    told(&mut node, &[scope("openai", "", "")]).await;
    replica.stop().await;
}
