//! Sync: commits, accounts, and which replica is asked.

use std::sync::atomic::Ordering;
use std::time::Duration;

use meridian_proto::node::v1;
use meridian_proto::node::v1::sync_response;
use meridian_types::KeyHash;
use tokio::time::Instant;

use crate::machine::Machine;
use crate::node::{Node, content, eventually, key, mistake, within};
use crate::replica::{Replica, chunks};

const C1: &str = "c1:7100";
const C2: &str = "c2:7100";

fn lane() -> (Machine, Replica, Node) {
    let machine = Machine::default();
    let replica = Replica::start(&machine, C1);
    let node = Node::start(&machine, &[C1]);
    (machine, replica, node)
}

#[tokio::test(start_paused = true)]
async fn a_whole_commit_and_then_a_diff_are_applied_and_acked_with_what_is_served() {
    let (machine, mut replica, node) = lane();
    let mut call = replica.welcome().await;
    assert_eq!((call.hello.proto_min, call.hello.proto_max, call.hello.commit_held), (1, 1, 0));
    assert!(call.hello.account_digests.is_empty());
    let identity = call.hello.identity.clone().unwrap();
    assert_eq!((identity.node.as_str(), identity.region.as_str()), ("node-1", "eu-west"));

    let one = content(1.0, &["eu-west", "us-west"]);
    call.send_commit(1, &one, None).await;
    let ack = call.ack().await;
    assert_eq!((ack.commit, &ack.digest[..]), (1, one.digest().as_bytes()));
    assert!(!machine.files.content.lock().unwrap().is_empty(), "acked before it was written");

    let two = content(1.0, &["eu-west", "ap-southeast"]);
    call.send_commit(2, &two, Some((1, &one))).await;
    assert_eq!(call.ack().await.digest, two.digest().as_bytes());
    assert_eq!(node.applied(), [1, 2]);

    // The same again costs no second compilation.
    call.send_commit(2, &two, None).await;
    assert_eq!(call.ack().await.commit, 2);
    assert_eq!(node.applied(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_together_is_nacked_and_asked_for_whole() {
    let one = content(1.0, &["eu-west"]);
    let body = |commit, base| {
        let (upserts, _) = one.diff(&Default::default());
        let digest = one.digest().as_bytes().to_vec().into();
        v1::CommitBody { commit, base, upserts, removals: Vec::new(), digest }
    };
    let bad_digest = v1::CommitBody { digest: vec![1; 32].into(), ..body(2, 1) };
    let mut swapped = chunks(&body(2, 1));
    swapped.swap(1, 2);
    for (chunks, expected) in [
        (chunks(&bad_digest), "not the one it should have"),
        (chunks(&body(2, 9)), "commit 9, is not held"),
        (swapped, "chunk 2 of 3 came where chunk 1 was due"),
    ] {
        let (_machine, mut replica, node) = lane();
        let mut call = replica.welcome().await;
        call.send_commit(1, &one, None).await;
        call.ack().await;
        for chunk in chunks {
            call.send(sync_response::Message::Commit(chunk)).await;
        }
        let nack = call.nack().await;
        assert_eq!(nack.commit, 2);
        assert!(nack.faults[0].text.contains(expected), "{:?}", nack.faults);
        assert_eq!(node.served(), Some(1));

        let mut call = replica.welcome().await;
        assert_eq!((call.hello.commit_held, call.hello.digest_held.len()), (0, 0), "{expected}");
        call.send_commit(2, &one, None).await;
        assert_eq!(call.ack().await.commit, 2);
        drop(call);
        assert_eq!(replica.welcome().await.hello.commit_held, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_nacked_with_every_fault_and_the_commit_before_stays() {
    let (_machine, mut replica, node) = lane();
    let mut call = replica.welcome().await;
    let one = content(1.0, &["eu-west"]);
    call.send_commit(1, &one, None).await;
    call.ack().await;

    let bad = content(100.0, &["eu-west", "us-west"]);
    call.send_commit(2, &bad, Some((1, &one))).await;
    let nack = call.nack().await;
    let names: Vec<_> = nack.faults.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!(names, ["eu-west", "us-west"], "{:?}", nack.faults);
    assert!(nack.faults.iter().all(|fault| fault.kind == "Region" && !fault.field_path.is_empty()));

    // The node itself may find more: here a credential that this machine lacks.
    node.recorder.0.lock().unwrap().refusal = Some(mistake("not set here"));
    let three = content(3.0, &["eu-west"]);
    call.send_commit(3, &three, Some((1, &one))).await;
    let nack = call.nack().await;
    let expected = v1::Fault {
        kind: "Provider".to_owned(),
        name: "openai".to_owned(),
        field_path: "credential.env".to_owned(),
        code: "invalid_field".to_owned(),
        text: "not set here".to_owned(),
    };
    assert_eq!((nack.commit, nack.faults), (3, vec![expected]));
    assert_eq!(node.served(), Some(1));

    // The stream goes on, and the base is still commit 1.
    call.send_commit(4, &three, Some((1, &one))).await;
    assert_eq!(call.ack().await.commit, 4);
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_names_what_is_held() {
    let (_machine, mut replica, _node) = lane();
    let mut call = replica.welcome().await;
    let one = content(1.0, &["eu-west"]);
    call.send_commit(1, &one, None).await;
    call.ack().await;
    let update = v1::AccountUpdate { keys: vec![key("k", false)], ..Default::default() };
    call.send(sync_response::Message::Accounts(update)).await;
    drop(call);
    let hello = replica.welcome().await.hello;
    assert_eq!((hello.commit_held, &hello.digest_held[..]), (1, one.digest().as_bytes()));
    assert_eq!(hello.account_digests.len(), 256 * 8);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_state_went_wrong_asks_for_the_whole() {
    let (_machine, mut replica, node) = lane();
    let mut call = replica.welcome().await;
    call.send_commit(1, &content(1.0, &["eu-west"]), None).await;
    call.ack().await;
    node.recorder.0.lock().unwrap().served.as_mut().unwrap().digest.0[0] ^= 1;
    drop(call);
    assert_eq!(replica.welcome().await.hello.commit_held, 0);
}

#[tokio::test(start_paused = true)]
async fn a_goaway_is_obeyed_elsewhere_and_after_its_delay() {
    let machine = Machine::default();
    let mut replicas = [Replica::start(&machine, C1), Replica::start(&machine, C2)];
    let _node = Node::start(&machine, &[C1, C2]);
    let [first, second] = &mut replicas;
    let (call, other) = tokio::select! {
        call = first.welcome() => (call, second),
        call = second.welcome() => (call, first),
    };
    let asked = Instant::now();
    let goaway = v1::Goaway { reason: "restart".to_owned(), reconnect_after_ms: 3000 };
    call.send(sync_response::Message::Goaway(goaway)).await;
    other.welcome().await;
    assert!((3000..3500).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn dead_and_strange_replicas_are_passed_over() {
    let machine = Machine::default();
    let mut strange = Replica::start(&machine, C1);
    let mut good = Replica::start(&machine, C2);
    let _node = Node::start(&machine, &["nobody:1", C1, C2]);
    let strange = tokio::spawn(async move {
        // It speaks a version of its own.
        while let Some(call) = strange.next_call().await {
            call.welcome(99).await;
        }
    });
    let call = good.welcome().await;
    call.send_commit(1, &content(1.0, &["eu-west"]), None).await;
    strange.abort();
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_pulse_is_gone_is_left_though_its_stream_is_open() {
    let machine = Machine::default();
    let mut replicas = [Replica::start(&machine, C1), Replica::start(&machine, C2)];
    let _node = Node::start(&machine, &[C1, C2]);
    let [first, second] = &mut replicas;
    let (_call, silent, other) = tokio::select! {
        call = first.welcome() => (call, first, second),
        call = second.welcome() => (call, second, first),
    };
    tokio::time::sleep(Duration::from_secs(60)).await;
    silent.behaviour.mute.store(true, Ordering::Relaxed);
    let muted = Instant::now();
    other.welcome().await;
    assert!(muted.elapsed() < Duration::from_secs(6), "{:?}", muted.elapsed());
}

#[tokio::test(start_paused = true)]
async fn accounts_are_added_revoked_and_removed_while_a_commit_waits_for_the_disk() {
    let (machine, mut replica, node) = lane();
    let mut call = replica.welcome().await;
    machine.files.fails.store(true, Ordering::Relaxed);
    call.send_commit(1, &content(1.0, &["eu-west"]), None).await;
    let send = async |update: v1::AccountUpdate| call.send(sync_response::Message::Accounts(update)).await;
    let revoked = |text: &str| {
        let notes = node.recorder.0.lock().unwrap();
        notes.accounts.keys.get(&KeyHash::of(text)).map(|key| key.revoked_at_unix_ms.is_some())
    };
    send(v1::AccountUpdate { keys: vec![key("a", false), key("b", false)], ..Default::default() }).await;
    eventually("both keys", || revoked("a") == Some(false) && revoked("b") == Some(false)).await;
    send(v1::AccountUpdate {
        keys: vec![key("a", true)],
        removed_keys: vec![KeyHash::of("b").0.as_bytes().to_vec().into()],
        ..Default::default()
    })
    .await;
    eventually("revoked and removed", || revoked("a") == Some(true) && revoked("b").is_none()).await;

    let early = tokio::time::timeout(Duration::from_secs(8), call.next()).await;
    assert!(early.is_err(), "acked though nothing was written: {early:?}");
    assert_eq!(node.served(), Some(1), "the disk does not keep a commit from being served");
    machine.files.fails.store(false, Ordering::Relaxed);
    assert_eq!(call.ack().await.commit, 1);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_goes_on_refusing_keeps_no_later_commit_away() {
    let (machine, mut replica, node) = lane();
    let mut call = replica.welcome().await;
    machine.files.fails.store(true, Ordering::Relaxed);
    for commit in [1, 2] {
        let sent = Instant::now();
        // As a replica does: the next one follows the Ack.
        call.send_commit(commit, &content(commit as f64, &["eu-west"]), None).await;
        let ack = tokio::time::timeout(Duration::from_secs(35), call.ack()).await.expect("no Ack");
        assert_eq!((ack.commit, node.served()), (commit, Some(commit)));
        assert!(sent.elapsed() >= Duration::from_secs(30), "the disk was not waited for: {:?}", sent.elapsed());
    }
    let said = || replica.behaviour.beats.lock().unwrap().last().unwrap().unsaved.clone();
    assert!(said().contains("no storage space"), "beats do not say it: {:?}", said());
    machine.files.fails.store(false, Ordering::Relaxed);
    eventually("the file is written", || !machine.files.content.lock().unwrap().is_empty()).await;
    eventually("beats say so", || said().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_holds_up_neither_accounts_nor_configuration() {
    let (machine, mut replica, node) = lane();
    let mut call = replica.welcome().await;
    call.send_commit(1, &content(1.0, &["eu-west"]), None).await;
    call.ack().await;
    machine.files.hangs.send_replace(true);
    for (commit, text) in [(2, "a"), (3, "b")] {
        let sent = Instant::now();
        call.send_commit(commit, &content(commit as f64, &["eu-west"]), None).await;
        let update = v1::AccountUpdate { keys: vec![key(text, true)], ..Default::default() };
        call.send(sync_response::Message::Accounts(update)).await;
        let is_known = || node.recorder.0.lock().unwrap().accounts.keys.contains_key(&KeyHash::of(text));
        eventually("the revocation", is_known).await;
        assert!(sent.elapsed() < Duration::from_millis(100), "{:?}", sent.elapsed());
        assert_eq!(node.served(), Some(commit - 1), "the marker was not waited for");
        eventually("the commit", || node.served() == Some(commit)).await;
        assert!(sent.elapsed() < Duration::from_secs(3), "{:?}", sent.elapsed());
        assert_eq!(call.ack().await.commit, commit);
    }
    let said = || replica.behaviour.beats.lock().unwrap().last().unwrap().unsaved.clone();
    assert!(said().contains("no answer"), "beats do not say it: {:?}", said());

    machine.files.hangs.send_replace(false);
    eventually("beats say that it is written", || said().is_empty()).await;
    // The writes that hung come in their order, and the last one says that the process outlived the commit.
    let marker = || machine.files.content.lock().unwrap().keys().any(|path| path.ends_with("applying"));
    eventually("the marker", marker).await;
    within(Duration::from_secs(90), "no marker", || !marker()).await;
}
