//! The two lanes to a node.

use std::time::Duration;

use meridian_proto::admin::v1 as admin;
use meridian_proto::node::v1::node_service_client::NodeServiceClient;
use meridian_proto::node::v1::{Hello, sync_response};
use meridian_store::memory::MemoryStore;
use meridian_types::KeyHash;
use tokio::time::Instant;
use tonic::Code;

use super::node::{Pulsing, Syncing, hello, identity};
use super::sandbox::{LIMIT, Replica, apply, bulk, channel, everything, region, request_id};

#[tokio::test]
async fn a_commit_comes_whole_then_as_a_difference_then_not_at_all() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let mut node = Syncing::start(replica.address, "eu", "n1").await;
    let body = node.body().await;
    assert_eq!((body.commit, body.base, body.upserts.len()), (1, 0, 5));
    node.take(body).await;
    assert_eq!(node.accounts.tenants.len(), 1);

    replica.apply(apply(1, vec![region("us", 5.0)], Vec::new())).await;
    let body = node.body().await;
    assert_eq!((body.commit, body.base, body.upserts.len()), (2, 1, 1));
    node.take(body).await;
    replica
        .fleet_with("the fleet shows the ack", |fleet| {
            fleet.nodes.iter().any(|shown| shown.node == "n1" && shown.faults.is_empty())
        })
        .await;

    // It comes back with what it has: nothing is sent but the welcome.
    let held = Hello {
        identity: Some(identity("eu", "n1", 2)),
        commit_held: 2,
        digest_held: node.content.digest().as_bytes().to_vec().into(),
        account_digests: node.accounts.bucket_digests().into(),
        ..hello()
    };
    let mut again = Syncing::with(replica.address, held.clone()).await.unwrap();
    let empty = again.soon().await;
    match empty {
        None => {}
        Some(sync_response::Message::Accounts(update)) => {
            panic!("accounts that the node has were sent again: {update:?}")
        }
        other => panic!("unexpected {other:?}"),
    }
    // It comes back with something else under the same number: whole.
    let corrupt = Hello { digest_held: vec![7; 32].into(), identity: Some(identity("eu", "n1", 3)), ..held };
    let mut again = Syncing::with(replica.address, corrupt).await.unwrap();
    assert_eq!(again.body().await.base, 0);
    replica.stop().await;
}

#[tokio::test]
async fn a_large_commit_comes_in_chunks_and_only_the_newest_follows_an_unacknowledged_one() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    let mut upserts = everything();
    upserts.push(bulk());
    replica.apply(apply(0, upserts, Vec::new())).await;
    let mut node = Syncing::start(replica.address, "eu", "n1").await;
    let body = node.body().await;
    assert!(body.upserts.iter().map(|upsert| upsert.body.len()).sum::<usize>() > 512 << 10);
    for commit in 1..4 {
        replica.apply(apply(commit, vec![region("us", commit as f64)], Vec::new())).await;
    }
    assert_eq!(node.soon().await, None);
    node.take(body).await;
    let body = node.body().await;
    assert_eq!((body.commit, body.base), (4, 1));
    node.take(body).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_node_that_owes_an_answer_for_a_minute_shows_until_it_gives_it() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let mut node = Syncing::start(replica.address, "eu", "n1").await;
    let body = node.body().await;
    let notes = |fleet: &admin::Fleet| fleet.nodes.iter().flat_map(|node| node.notes.clone()).collect::<Vec<_>>();
    assert_eq!(notes(&replica.fleet().await), Vec::<String>::new());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let seen = replica.fleet_with("it is told", |fleet| !notes(fleet).is_empty()).await;
    assert!(notes(&seen)[0].starts_with("it has not answered commit 1 for 6"), "{:?}", notes(&seen));
    node.take(body).await;
    replica.fleet_with("it answered", |fleet| notes(fleet).is_empty()).await;
}

#[tokio::test]
async fn of_a_herd_so_many_get_a_whole_commit_at_once_and_accounts_wait_for_nobody() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let mut herd = Vec::new();
    for number in 0..crate::node::WHOLE_AT_ONCE {
        let mut node = Syncing::start(replica.address, "eu", &format!("n{number}")).await;
        let body = node.body().await;
        herd.push((node, body));
    }
    let mut late = Syncing::start(replica.address, "eu", "late").await;
    match late.receive().await.unwrap() {
        sync_response::Message::Accounts(update) => assert!(late.accounts.apply(&update).is_empty()),
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(late.accounts.tenants.len(), 1);
    assert_eq!(late.soon().await, None, "it got a commit out of turn");
    let (mut first, body) = herd.swap_remove(0);
    first.take(body).await;
    let body = tokio::time::timeout(Duration::from_secs(5), late.body()).await.expect("its turn did not come");
    assert_eq!((body.commit, body.base), (1, 0));
    late.take(body).await;
    // Who leaves gives up his turn, and a difference needs none.
    replica.apply(apply(1, vec![region("us", 5.0)], Vec::new())).await;
    assert_eq!(first.body().await.base, 1);
    drop(herd);
    replica.stop().await;
}

#[tokio::test]
async fn a_refusal_is_shown_and_the_next_commit_is_tried() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let mut node = Syncing::start(replica.address, "eu", "n1").await;
    let body = node.body().await;
    node.refuse(body.commit, "no such file").await;
    replica
        .fleet_with("the fault is shown", |fleet| {
            fleet.nodes.iter().any(|node| node.faults.iter().any(|fault| fault.text == "no such file"))
        })
        .await;
    assert_eq!(node.soon().await, None);
    replica.apply(apply(1, vec![region("us", 5.0)], Vec::new())).await;
    let body = node.body().await;
    // It holds nothing, so the new one is whole.
    assert_eq!((body.commit, body.base), (2, 0));
    node.take(body).await;
    replica.fleet_with("the fault is gone", |fleet| fleet.nodes.iter().all(|node| node.faults.is_empty())).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_revoked_key_reaches_the_stream_within_a_second() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let hash = KeyHash::of("mk-secret");
    let create = admin::CreateKeyRequest {
        request_id: request_id(),
        tenant: "acme".to_owned(),
        hash: hash.0.as_bytes().to_vec().into(),
        ..Default::default()
    };
    replica.admin.create_key(create).await.unwrap();
    let mut node = Syncing::start(replica.address, "eu", "n1").await;
    let body = node.body().await;
    node.take(body).await;
    assert!(node.accounts.keys[&hash].revoked_at_unix_ms.is_none());
    let began = Instant::now();
    let revoke = admin::RevokeKeyRequest { request_id: request_id(), id: hash.id(), ..Default::default() };
    replica.admin.revoke_key(revoke).await.unwrap();
    match node.receive().await.unwrap() {
        sync_response::Message::Accounts(update) => assert!(node.accounts.apply(&update).is_empty()),
        other => panic!("unexpected {other:?}"),
    }
    assert!(node.accounts.keys[&hash].revoked_at_unix_ms.is_some());
    assert!(began.elapsed() < Duration::from_secs(1));
    replica.stop().await;
}

#[tokio::test]
async fn what_is_no_node_of_ours_is_refused() {
    let store = MemoryStore::new(1);
    let replica = Replica::start(&store, "cp-1").await;
    let _current = Syncing::with(replica.address, Hello { identity: Some(identity("eu", "n1", 5)), ..hello() }).await;
    let old = Hello { proto_min: 7, proto_max: 9, identity: Some(identity("eu", "n2", 1)), ..hello() };
    for (hello, expected) in [
        (hello(), Code::InvalidArgument),
        (old, Code::FailedPrecondition),
        (Hello { identity: Some(identity("eu", "n1", 4)), ..hello() }, Code::FailedPrecondition),
        (Hello { identity: Some(identity("EU!", "n3", 4)), ..hello() }, Code::InvalidArgument),
    ] {
        let refused = Syncing::with(replica.address, hello.clone()).await.err();
        assert_eq!(refused.map(|status| status.code()), Some(expected), "{hello:?}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn every_beat_is_echoed_and_the_plan_and_peers_come_with_it() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let mut one = Pulsing::start(replica.address, "eu", "n1", &[]).await;
    let mut two = Pulsing::start(replica.address, "us", "n2", &[]).await;
    let plan = tokio::time::timeout(LIMIT, two.plans.wait_for(Option::is_some)).await.unwrap().unwrap().clone();
    assert_eq!(plan.unwrap().regions.len(), 3);
    let echoed = one.replies.wait_for(|reply| reply.as_ref().is_some_and(|reply| reply.sequence_echo >= 3));
    let reply = tokio::time::timeout(LIMIT, echoed).await.unwrap().unwrap().clone().unwrap();
    assert_eq!(reply.replica, "cp-1");
    let mut client = NodeServiceClient::new(channel(replica.address).await);
    let (beats, outgoing) = tokio::sync::mpsc::channel(1);
    let first =
        meridian_proto::node::v1::Beat { sequence: 9, identity: Some(identity("eu", "n3", 1)), ..Default::default() };
    beats.send(first).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut replies = client.pulse(stream).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap();
    assert_eq!(reply.sequence_echo, 9);
    assert!(reply.plan.is_some());
    let peers: Vec<_> = reply.peers.unwrap().peers.into_iter().map(|peer| (peer.node, peer.address)).collect();
    let address = "127.0.0.1:8080".to_owned();
    assert_eq!(peers, [("n1".to_owned(), address.clone()), ("n2".to_owned(), address)]);
    replica.stop().await;
}

#[tokio::test]
async fn a_replica_that_stops_says_goaway_and_ends() {
    let store = MemoryStore::new(1);
    let replica = Replica::start(&store, "cp-1").await;
    let mut node = Syncing::start(replica.address, "eu", "n1").await;
    let _pulsing = Pulsing::start(replica.address, "eu", "n1", &[]).await;
    let began = Instant::now();
    let stopping = tokio::spawn(replica.stop());
    loop {
        match node.receive().await.unwrap() {
            sync_response::Message::Goaway(goaway) => {
                assert!(goaway.reconnect_after_ms <= 1000);
                break;
            }
            sync_response::Message::Accounts(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    stopping.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
}
