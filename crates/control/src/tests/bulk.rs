//! A large commit on its way to a node that reads slowly: what is urgent goes between its chunks.

use meridian_proto::admin::v1 as admin;
use meridian_proto::node::v1::{Ack, CommitBody, CommitChunk, sync_request, sync_response};
use meridian_store::memory::MemoryStore;
use meridian_types::KeyHash;
use prost::Message;

use super::node::{Syncing, request};
use super::sandbox::{Replica, apply, bulk, everything, region, request_id};

/// Bytes that take a second at 2 Mbit/s: so much and no more may lie before what is urgent.
const SECOND: usize = 250_000;
/// Of the key that is revoked.
const SECRET: &str = "mk-secret";

/// A replica whose commit 1 takes seconds on a slow link, a node that has it, and one that has read its first chunk.
async fn under_way() -> (Replica, Syncing, Syncing, CommitChunk) {
    let mut replica = Replica::start(&MemoryStore::new(1), "cp-1").await;
    let mut upserts = everything();
    upserts.push(bulk());
    replica.apply(apply(0, upserts, Vec::new())).await;
    let hash = KeyHash::of(SECRET).0.as_bytes().to_vec().into();
    let create =
        admin::CreateKeyRequest { request_id: request_id(), tenant: "acme".to_owned(), hash, ..Default::default() };
    replica.admin.create_key(create).await.unwrap();
    let mut quick = Syncing::start(replica.address, "eu", "quick").await;
    let body = quick.body().await;
    quick.take(body).await;
    let mut slow = Syncing::start(replica.address, "eu", "slow").await;
    let (_, first) = read_until(&mut slow, |message| matches!(message, sync_response::Message::Commit(_))).await;
    let sync_response::Message::Commit(first) = first else { unreachable!() };
    assert!(first.index == 0 && first.count as usize * first.data.len() > 2 * SECOND, "it is not large");
    (replica, quick, slow, first)
}

/// The chunks that come before what is waited for, and that.
async fn read_until(
    node: &mut Syncing,
    is_it: impl Fn(&sync_response::Message) -> bool,
) -> (Vec<CommitChunk>, sync_response::Message) {
    let mut chunks = Vec::new();
    loop {
        match node.receive().await.unwrap() {
            message if is_it(&message) => return (chunks, message),
            sync_response::Message::Commit(chunk) => chunks.push(chunk),
            sync_response::Message::Accounts(update) => assert!(node.accounts.apply(&update).is_empty()),
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn bytes(chunks: &[CommitChunk]) -> usize {
    chunks.iter().map(|chunk| chunk.data.len()).sum()
}

#[tokio::test]
async fn a_revocation_overtakes_the_rest_of_a_commit_which_then_comes_whole() {
    let (mut replica, mut quick, mut slow, first) = under_way().await;
    let hash = KeyHash::of(SECRET);
    let revoke = admin::RevokeKeyRequest { request_id: request_id(), id: hash.id(), ..Default::default() };
    replica.admin.revoke_key(revoke).await.unwrap();
    // Who waits for nothing has it; so the other's lane knows of it too.
    let is_update = |message: &sync_response::Message| matches!(message, sync_response::Message::Accounts(_));
    read_until(&mut quick, is_update).await;

    let (before, update) = read_until(&mut slow, is_update).await;
    let sync_response::Message::Accounts(update) = update else { unreachable!() };
    assert!(slow.accounts.apply(&update).is_empty());
    assert!(slow.accounts.keys[&hash].revoked_at_unix_ms.is_some());
    assert!(bytes(&before) < SECOND, "{} bytes came before the revocation", bytes(&before));

    let is_last = |message: &sync_response::Message| matches!(message, sync_response::Message::Commit(chunk) if chunk.index + 1 == chunk.count);
    let (after, last) = read_until(&mut slow, is_last).await;
    let sync_response::Message::Commit(last) = last else { unreachable!() };
    let chunks: Vec<_> = [vec![first], before, after, vec![last]].concat();
    assert!((0..).zip(&chunks).all(|(index, chunk)| chunk.index == index && chunk.commit == 1));
    let data: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect();
    slow.take(CommitBody::decode(data.as_slice()).unwrap()).await;
    // It counts as held: the next one comes as a difference.
    replica.apply(apply(1, vec![region("us", 5.0)], Vec::new())).await;
    let body = slow.body().await;
    assert_eq!((body.commit, body.base), (2, 1));
    replica.stop().await;
}

#[tokio::test]
async fn a_replica_that_stops_says_so_between_two_chunks() {
    let (replica, mut quick, mut slow, _) = under_way().await;
    let stopping = tokio::spawn(replica.stop());
    let is_goaway = |message: &sync_response::Message| matches!(message, sync_response::Message::Goaway(_));
    read_until(&mut quick, is_goaway).await;
    let (before, _) = read_until(&mut slow, is_goaway).await;
    assert!(bytes(&before) < SECOND, "{} bytes came before the goaway", bytes(&before));
    stopping.await.unwrap();
}

#[tokio::test]
async fn an_answer_before_the_last_chunk_ends_the_commit_and_the_next_begins_anew() {
    for acked in [false, true] {
        let (mut replica, quick, mut slow, _) = under_way().await;
        if acked {
            let digest = quick.content.digest().as_bytes().to_vec().into();
            let ack = Ack { commit: 1, digest, applied_us: 10 };
            slow.requests.send(request(sync_request::Message::Ack(ack))).await.unwrap();
            replica
                .fleet_with("the answer is heard", |fleet| fleet.nodes.iter().all(|node| node.notes.is_empty()))
                .await;
        } else {
            slow.refuse(1, "no such file").await;
        }
        replica.apply(apply(1, vec![region("us", 5.0)], Vec::new())).await;
        let is_next = |message: &sync_response::Message| matches!(message, sync_response::Message::Commit(chunk) if chunk.commit == 2);
        let (before, next) = read_until(&mut slow, is_next).await;
        let sync_response::Message::Commit(next) = next else { unreachable!() };
        assert!(bytes(&before) < SECOND, "{} bytes came after the answer", bytes(&before));
        assert_eq!(
            (next.index, next.count == 1),
            (0, acked),
            "as a difference where the node says that it has the base"
        );
        replica.stop().await;
    }
}
