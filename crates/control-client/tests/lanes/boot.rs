//! The start from the last-known-good files, with and without a control plane.

use std::sync::atomic::Ordering;
use std::time::Duration;

use meridian_control_client::{ControlState, Source};
use meridian_proto::fleet::v1::{Switch, SwitchScope};
use meridian_proto::node::v1;
use meridian_proto::node::v1::sync_response;
use meridian_types::KeyHash;
use prost::Message;

use crate::machine::Machine;
use crate::node::{Node, content, eventually, key, plan, within};
use crate::replica::{Replica, SyncCall};

const C1: &str = "c1:7100";

/// Later than the keeper writes accounts and plans.
const WRITTEN: Duration = Duration::from_secs(5);
/// Longer than the crash-loop breaker watches.
const SURVIVED: Duration = Duration::from_secs(70);

/// A machine whose node got the commits, one after the other, and outlived each.
async fn machine_with(commits: &[u64]) -> (Machine, Replica, SyncCall, Node) {
    let machine = Machine::default();
    let mut replica = Replica::start(&machine, C1);
    let node = Node::start(&machine, &[C1]);
    let mut call = replica.welcome().await;
    for commit in commits {
        call.send_commit(*commit, &content(*commit as f64, &["eu-west"]), None).await;
        call.ack().await;
        tokio::time::sleep(SURVIVED).await;
    }
    (machine, replica, call, node)
}

#[tokio::test(start_paused = true)]
async fn a_node_starts_from_its_file_without_any_control_plane() {
    let (machine, replica, call, node) = machine_with(&[1, 2]).await;
    let update = v1::AccountUpdate { keys: vec![key("a", true)], ..Default::default() };
    call.send(sync_response::Message::Accounts(update)).await;
    *replica.behaviour.plan.lock().unwrap() = Some(plan(1, 7));
    let peer = v1::Peer {
        node: "node-2".into(),
        region: "us-west".into(),
        address: "192.0.2.2:443".into(),
        ..Default::default()
    };
    *replica.behaviour.peers.lock().unwrap() = Some(v1::PeerList { peers: vec![peer] });
    tokio::time::sleep(WRITTEN).await;
    node.stop().await;
    replica.crash();

    let node = Node::start(&machine, &[C1]);
    eventually("served", || node.served() == Some(2)).await;
    eventually("plan", || node.handle.plan().is_some_and(|plan| plan.id.number == 7)).await;
    {
        let notes = node.recorder.0.lock().unwrap();
        assert_eq!(notes.applied, [(2, Source::File { age: Duration::ZERO })]);
        assert!(notes.accounts.keys[&KeyHash::of("a")].revoked_at_unix_ms.is_some());
        assert_eq!(notes.plans.iter().map(|plan| plan.number).collect::<Vec<_>>(), [7]);
        let probed: Vec<_> = notes.peers.iter().flat_map(|peers| peers.iter()).map(|peer| &*peer.address).collect();
        assert_eq!(probed, ["192.0.2.2:443"], "whom to probe is known before anyone tells it");
    }

    // The plane comes back: it is told what the node holds, and an older plan is refused.
    let mut replica = Replica::start(&machine, C1);
    *replica.behaviour.plan.lock().unwrap() = Some(plan(1, 6));
    let hello = replica.welcome().await.hello;
    assert_eq!((hello.commit_held, hello.plan_epoch_held, hello.plan_number_held), (2, 1, 7));
    assert_eq!(hello.account_digests.len(), 256 * 8);
    tokio::time::sleep(WRITTEN).await;
    assert_eq!(node.recorder.0.lock().unwrap().plans.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_switched_off_stays_off_over_a_restart_without_any_control_plane() {
    let (machine, replica, _call, node) = machine_with(&[1]).await;
    let switch = |provider: &str, left_ms| {
        let scope = SwitchScope { provider: provider.to_owned(), ..Default::default() };
        v1::ActiveSwitch { switch: Some(Switch { scope: Some(scope), ..Default::default() }), left_ms }
    };
    let list = |revision, switches| v1::SwitchList { epoch: 1, revision, switches };
    let first = list(9, vec![switch("a", None), switch("b", Some(600_000)), switch("c", Some(1_000))]);
    let written = first.encode_to_vec();
    *replica.behaviour.switches.lock().unwrap() = Some(first.clone());
    let seen = |node: &Node| node.recorder.0.lock().unwrap().switches.clone();
    eventually("the node is told", || !seen(&node).is_empty()).await;
    assert_eq!(seen(&node), [first]);
    // One that lags, and one that repeats what is known with other times, change nothing.
    for stale in [list(8, vec![]), list(9, vec![switch("b", Some(1))])] {
        *replica.behaviour.switches.lock().unwrap() = Some(stale);
        eventually("it was sent", || replica.behaviour.switches.lock().unwrap().is_none()).await;
    }
    // The machine's end comes sooner than accounts and plans are written.
    let holds = |file: &Vec<u8>| file.windows(written.len()).any(|part| part == written);
    let is_kept = || machine.files.content.lock().unwrap().values().any(holds);
    within(Duration::from_millis(1_500), "it is in the file", is_kept).await;
    assert_eq!(seen(&node).len(), 1);
    replica.crash();
    let machine = machine.after_power_loss();
    node.stop().await;
    machine.passed_ms.store(1_000, Ordering::Relaxed);

    let node = Node::start(&machine, &[C1]);
    eventually("served", || node.served() == Some(1)).await;
    let told = seen(&node);
    let [told] = &told[..] else { panic!("{told:?}") };
    let names: Vec<_> =
        told.switches.iter().map(|active| active.switch.clone().unwrap().scope.unwrap().provider).collect();
    assert_eq!((told.epoch, told.revision, names), (1, 9, vec!["a".to_owned(), "b".to_owned()]), "c has ended");
    assert_eq!(told.switches[0].left_ms, None);
    assert_eq!(told.switches[1].left_ms, Some(599_000));
    // The plane comes back, and what was released meanwhile is.
    let replica = Replica::start(&machine, C1);
    *replica.behaviour.switches.lock().unwrap() = Some(list(10, vec![]));
    eventually("the node is told", || seen(&node).last() == Some(&list(10, vec![]))).await;
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_file_falls_back_a_generation() {
    let (machine, replica, _call, node) = machine_with(&[1, 2, 3]).await;
    node.stop().await;
    replica.crash();
    {
        let mut files = machine.files.content.lock().unwrap();
        assert_eq!(files.len(), 3, "{:?}", files.keys().collect::<Vec<_>>());
        let newest = files.values_mut().next_back().unwrap();
        let middle = newest.len() / 2;
        newest[middle] ^= 1;
    }
    let node = Node::start(&machine, &[]);
    eventually("served", || node.served() == Some(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_twice_killed_the_process_is_left_and_nacked() {
    let (machine, mut replica, mut call, _node) = machine_with(&[1]).await;
    let deadly = content(2.0, &["eu-west"]);
    call.send_commit(2, &deadly, None).await;
    call.ack().await;

    let once_dead = machine.after_power_loss();
    let node = Node::start(&once_dead, &[]);
    eventually("served", || node.served() == Some(2)).await;

    let twice_dead = once_dead.after_power_loss();
    drop((call, _node));
    let node = Node::start(&twice_dead, &[C1]);
    eventually("served", || node.served() == Some(1)).await;
    // Calls of the nodes that are dead may still be in the queue.
    let mut call = loop {
        let call = replica.welcome().await;
        if call.hello.commit_held == 1 {
            break call;
        }
    };
    call.send_commit(2, &deadly, None).await;
    let nack = call.nack().await;
    assert!(nack.faults[0].text.contains("died twice"), "{:?}", nack.faults);
    assert_eq!(node.applied(), [1]);
    // After a restore from a backup the number may be another commit's.
    call.send_commit(2, &content(2.5, &["eu-west"]), None).await;
    assert_eq!(call.ack().await.commit, 2);
    // What repairs it is taken.
    call.send_commit(3, &content(3.0, &["eu-west"]), None).await;
    assert_eq!(call.ack().await.commit, 3);
}

#[tokio::test(start_paused = true)]
async fn an_ordered_stop_and_a_long_life_are_no_deaths() {
    let (mut machine, _replica, _call, node) = machine_with(&[1, 2]).await;
    node.stop().await;
    for _ in 0..3 {
        let node = Node::start(&machine, &[]);
        eventually("served", || node.served() == Some(2)).await;
        node.stop().await;
    }
    for _ in 0..3 {
        let node = Node::start(&machine, &[]);
        eventually("served", || node.served() == Some(2)).await;
        tokio::time::sleep(SURVIVED).await;
        machine = machine.after_power_loss();
    }
}

#[tokio::test(start_paused = true)]
async fn another_clusters_replica_is_refused_on_both_lanes_also_after_a_restart() {
    let machine = Machine::default();
    let mut own = Replica::start(&machine, C1);
    own.behaviour.cluster_id.store(7, Ordering::Relaxed);
    *own.behaviour.plan.lock().unwrap() = Some(plan(0, 5));
    let node = Node::start(&machine, &[C1]);
    let mut call = own.welcome().await;
    call.send_commit(1, &content(1.0, &["eu-west"]), None).await;
    call.ack().await;
    tokio::time::sleep(WRITTEN).await;
    node.stop().await;
    own.crash();

    // Somebody pointed the endpoint at another cluster, whose numbers are higher.
    let mut foreign = Replica::start(&machine, C1);
    foreign.behaviour.cluster_id.store(8, Ordering::Relaxed);
    *foreign.behaviour.plan.lock().unwrap() = Some(plan(3, 9));
    let node = Node::start(&machine, &[C1]);
    eventually("served from the file", || node.served() == Some(1)).await;
    for _ in 0..2 {
        let mut call = foreign.welcome().await;
        assert!(call.next().await.is_none(), "it stayed");
    }
    eventually("pulses", || *foreign.behaviour.pulses.lock().unwrap() >= 2).await;
    assert_eq!(node.handle.plan().map(|plan| plan.id.number), Some(5));
    assert_eq!(node.handle.control_state(), ControlState::Never);
    foreign.crash();

    // Its own is still welcome.
    let mut own = Replica::start(&machine, C1);
    own.behaviour.cluster_id.store(7, Ordering::Relaxed);
    let mut call = own.welcome().await;
    call.send_commit(2, &content(2.0, &["eu-west"]), None).await;
    assert_eq!(call.ack().await.commit, 2);
}
