//! From what nodes find of an upstream to what every node, and every operator, is told of it.

use std::time::Duration;

use meridian_proto::admin::v1 as admin;
use meridian_proto::admin::v1::{event::Kind, explain_request::Subject};
use meridian_proto::node::v1::OutageList;
use meridian_store::memory::MemoryStore;

use super::events::{until, watch};
use super::fleet::nodes;
use super::node::Pulsing;
use super::sandbox::{LIMIT, Replica, apply, everything};

const TARGET: &str = "openai:gpt";
const DEAD: &str = "failed repeatedly";

/// From now on the node finds so; nothing: it is up.
fn find(node: &Pulsing, why: &str) {
    node.say(|words| drop(words.finds.insert(TARGET.to_owned(), why.to_owned())));
}

/// Waits until a node is told of these, as `everywhere` and regions, and gives the list.
async fn told(node: &mut Pulsing, expected: &[(bool, &[&str])]) -> OutageList {
    let is = |list: &Option<OutageList>| {
        let told = list.iter().flat_map(|list| &list.outages).map(|outage| {
            assert_eq!((outage.provider.as_str(), outage.model.as_str()), ("openai", "gpt"));
            (outage.everywhere, outage.regions.iter().map(String::as_str).collect::<Vec<_>>())
        });
        let expected = expected.iter().map(|(everywhere, regions)| (*everywhere, regions.to_vec()));
        list.is_some() && told.eq(expected)
    };
    let waited = tokio::time::timeout(LIMIT, node.outages.wait_for(is)).await;
    waited.expect("the node is told").unwrap().clone().unwrap()
}

async fn explain(replica: &mut Replica) -> Vec<String> {
    let request = admin::ExplainRequest { subject: Some(Subject::Target(TARGET.to_owned())) };
    replica.admin.explain(request).await.unwrap().into_inner().lines
}

#[tokio::test]
async fn what_two_regions_find_is_an_event_an_explanation_and_told_to_every_node_by_every_replica() {
    let store = MemoryStore::new(1);
    let mut one = Replica::start(&store, "cp-1").await;
    one.apply(apply(0, everything(), Vec::new())).await;
    let mut fleet = nodes(&one).await;
    let mut two = Replica::start(&store, "cp-2").await;
    // It leads nothing and has no other node.
    let mut far = Pulsing::start(two.address, "us", "n-far", &[]).await;
    let mut events = watch(&mut one, "").await;
    let mut next = async |wanted: &str| {
        let is = |kind, event: &admin::Event| kind == Kind::Target && event.text.starts_with(wanted);
        let seen = until(&mut events, is).await;
        assert_eq!(seen.last().unwrap().1.subject, TARGET);
    };
    told(&mut far, &[]).await;
    find(&fleet[0], "");
    find(&fleet[2], "");
    find(&fleet[1], DEAD);
    next("down only from eu, up from ap, us: failed repeatedly").await;
    let first = told(&mut far, &[(false, &["eu"])]).await;
    let lines = explain(&mut two).await;
    assert!(
        lines[0].starts_with("openai:gpt is DOWN only from eu, up from ap, us: failed repeatedly; since 20"),
        "{lines:#?}"
    );
    assert!(
        lines[1].starts_with("from ap: up since 20") && lines[2].starts_with("from eu: DOWN since 20"),
        "{lines:#?}"
    );
    assert_eq!(two.fleet().await.outages, first.outages);

    find(&fleet[0], DEAD);
    find(&fleet[2], DEAD);
    next("down everywhere: failed repeatedly").await;
    let second = told(&mut far, &[(true, &["ap", "eu", "us"])]).await;
    assert_eq!(second.epoch, first.epoch);
    assert!(second.revision > first.revision);
    told(&mut fleet[0], &[(true, &["ap", "eu", "us"])]).await;

    for node in &fleet {
        find(node, "");
    }
    next("up again").await;
    told(&mut far, &[]).await;
    let lines = explain(&mut one).await;
    assert_eq!(lines[0], "openai:gpt is up wherever it was asked of late");
    assert!(one.fleet().await.outages.is_empty());
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn an_outage_is_repeated_and_a_replica_that_lost_the_store_does_not_go_on_telling_it() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let mut fleet = nodes(&replica).await;
    find(&fleet[1], DEAD);
    let list = told(&mut fleet[0], &[(false, &["eu"])]).await;
    let text = "down from eu, and no other region has asked it of late: failed repeatedly";
    assert_eq!(list.outages[0].text, text);
    // A node that does not hear it again forgets it.
    fleet[0].outages.mark_unchanged();
    tokio::time::timeout(LIMIT, fleet[0].outages.changed()).await.expect("it is told again").unwrap();
    assert_eq!(fleet[0].outages.borrow().as_ref(), Some(&list));

    store.set_available(false);
    replica.fleet_with("read-only", |fleet| !fleet.read_only.is_empty()).await;
    fleet[0].outages.mark_unchanged();
    let silent = tokio::time::timeout(Duration::from_secs(3), fleet[0].outages.changed()).await;
    assert!(silent.is_err(), "nobody judges any more");
    store.set_available(true);
    told(&mut fleet[0], &[(false, &["eu"])]).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_new_leader_goes_on_from_what_the_store_says() {
    let store = MemoryStore::new(1);
    let mut one = Replica::start(&store, "cp-1").await;
    one.apply(apply(0, everything(), Vec::new())).await;
    let mut fleet = nodes(&one).await;
    find(&fleet[1], DEAD);
    let before = told(&mut fleet[0], &[(false, &["eu"])]).await;
    fleet.clear();
    let mut two = Replica::start(&store, "cp-2").await;
    one.stop().await;
    two.fleet_with("it leads", |fleet| fleet.leader == "cp-2").await;
    // The node that found it down is not back yet.
    let mut other = Pulsing::start(two.address, "ap", "n-ap", &[]).await;
    let after = told(&mut other, &[(false, &["eu"])]).await;
    assert_eq!(after.outages, before.outages, "since then, and for that reason");
    two.stop().await;
}
