//! Pulse: beats, echoes, plans, peers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use meridian_control_client::{ControlState, SessionState};
use meridian_proto::{fleet, node::v1};
use meridian_types::PlanId;
use tokio::time::Instant;

use crate::machine::Machine;
use crate::node::{Node, content, eventually, plan};
use crate::replica::Replica;

const NAMES: [&str; 3] = ["c1:7100", "c2:7100", "c3:7100"];

fn is_up(node: &Node, index: usize) -> bool {
    node.handle.sessions()[index].state.is_up()
}

#[tokio::test(start_paused = true)]
async fn beats_carry_identity_first_vitals_always_and_a_report_every_second() {
    let machine = Machine::default();
    let mut replica = Replica::start(&machine, NAMES[0]);
    let node = Node::start(&machine, &NAMES[..1]);
    let mut call = replica.welcome().await;
    let one = content(1.0, &["eu-west"]);
    call.send_commit(1, &one, None).await;
    call.ack().await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let beats = std::mem::take(&mut *replica.behaviour.beats.lock().unwrap());
    assert!((30..=36).contains(&beats.len()), "{} beats in 8 s", beats.len());
    assert!(beats.iter().zip(1..).all(|(beat, sequence)| beat.sequence == sequence));
    assert_eq!(beats[0].identity.as_ref().unwrap().max_in_flight, 100);
    assert!(beats[1..].iter().all(|beat| beat.identity.is_none()));
    let reports = beats.iter().filter(|beat| beat.report.is_some()).count();
    assert!((7..=9).contains(&reports), "{reports} reports in 8 s");
    let last = beats.last().unwrap();
    assert_eq!((last.commit, &last.digest[..]), (1, one.digest().as_bytes()));
    assert_eq!((last.state(), last.in_flight), (v1::ServingState::Serving, 3));
    assert_eq!(last.echo_seen, last.sequence - 1);

    // A flip does not wait for the second.
    let before = replica.behaviour.beats.lock().unwrap().len();
    node.handle.report_now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let beats = replica.behaviour.beats.lock().unwrap();
    assert!(beats[before..].iter().any(|beat| beat.report.is_some()));
}

#[tokio::test(start_paused = true)]
async fn the_newest_plan_is_obeyed_and_older_or_broken_ones_are_refused() {
    let machine = Machine::default();
    let replica = Replica::start(&machine, NAMES[0]);
    let node = Node::start(&machine, &NAMES[..1]);
    let mut empty = plan(9, 9);
    empty.regions.clear();
    let mut lopsided = plan(9, 10);
    lopsided.regions[0].weight = 999;
    for next in [plan(1, 5), plan(1, 4), empty, lopsided, plan(2, 1), plan(1, 6)] {
        *replica.behaviour.plan.lock().unwrap() = Some(next);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let expected = [PlanId { epoch: 1, number: 5 }, PlanId { epoch: 2, number: 1 }];
    assert_eq!(node.recorder.0.lock().unwrap().plans, expected);
    assert_eq!(node.handle.plan().unwrap().id, expected[1]);
    let beats = replica.behaviour.beats.lock().unwrap();
    let last = beats.last().unwrap();
    assert_eq!((last.plan_epoch, last.plan_number), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn peers_are_told_once_per_change_without_the_node_itself() {
    let machine = Machine::default();
    let replica = Replica::start(&machine, NAMES[0]);
    let node = Node::start(&machine, &NAMES[..1]);
    let peer = |node: &str| v1::Peer {
        node: node.to_owned(),
        region: "eu-west".to_owned(),
        address: "192.0.2.9:443".to_owned(),
        peer_address: String::new(),
    };
    for peers in [vec![peer("node-1"), peer("node-2"), peer("No Name")], vec![]] {
        *replica.behaviour.peers.lock().unwrap() = Some(v1::PeerList { peers });
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let notes = node.recorder.0.lock().unwrap();
    let names: Vec<Vec<&str>> =
        notes.peers.iter().map(|peers| peers.iter().map(|peer| peer.node.as_str()).collect()).collect();
    assert_eq!(names, [vec!["node-2"], vec![]]);
}

#[tokio::test(start_paused = true)]
async fn missing_echoes_kill_the_session_within_1500_ms_and_it_comes_back() {
    let machine = Machine::default();
    let replica = Replica::start(&machine, NAMES[0]);
    let node = Node::start(&machine, &NAMES[..1]);
    assert_eq!(node.handle.control_state(), ControlState::Never);
    eventually("up", || is_up(&node, 0)).await;
    assert_eq!(node.handle.control_state(), ControlState::Connected);
    // A while, so that what is measured is no start-up effect.
    tokio::time::sleep(Duration::from_secs(5)).await;

    replica.behaviour.mute.store(true, Ordering::Relaxed);
    let muted = Instant::now();
    eventually("silent", || node.handle.sessions()[0].state == SessionState::Silent).await;
    assert!(muted.elapsed() >= Duration::from_millis(900), "{:?}", muted.elapsed());
    assert!(muted.elapsed() <= Duration::from_millis(1500), "{:?}", muted.elapsed());
    assert!(matches!(node.handle.control_state(), ControlState::Lost { .. }));

    replica.behaviour.mute.store(false, Ordering::Relaxed);
    eventually("up again", || is_up(&node, 0)).await;
    assert_eq!(node.handle.control_state(), ControlState::Connected);
    assert!(*replica.behaviour.pulses.lock().unwrap() >= 2);
}

#[tokio::test(start_paused = true)]
async fn every_replica_gets_the_pulse_and_control_is_lost_only_with_most_of_them() {
    let machine = Machine::default();
    let [first, second, third] = NAMES.map(|name| Replica::start(&machine, name));
    let node = Node::start(&machine, &NAMES);
    eventually("all up", || (0..3).all(|index| is_up(&node, index))).await;
    first.behaviour.mute.store(true, Ordering::Relaxed);
    eventually("first gone", || !is_up(&node, 0)).await;
    assert_eq!(node.handle.control_state(), ControlState::Connected);
    second.crash();
    eventually("second gone", || !is_up(&node, 1)).await;
    third.crash();
    eventually("third gone", || !is_up(&node, 2)).await;
    assert!(matches!(node.handle.control_state(), ControlState::Lost { .. }));
    assert_eq!(node.handle.sessions()[2].state, SessionState::Unreachable);
    let _third = Replica::start(&machine, NAMES[2]);
    eventually("third back", || is_up(&node, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_asked_to_look_at_its_peers_does_so_once() {
    let machine = Machine::default();
    let replica = Replica::start(&machine, NAMES[0]);
    let node = Node::start(&machine, &NAMES[..1]);
    eventually("up", || is_up(&node, 0)).await;
    for looks in 1..3 {
        replica.behaviour.look.store(true, Ordering::Relaxed);
        eventually("it looks", || node.recorder.0.lock().unwrap().looks == looks).await;
        let beats = || replica.behaviour.beats.lock().unwrap().len();
        let later = beats() + 8;
        eventually("replies that do not ask for it", || beats() >= later).await;
        assert_eq!(node.recorder.0.lock().unwrap().looks, looks);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_leads_once_every_replica_that_answers_says_so() {
    let machine = Machine::default();
    let [first, second] = [NAMES[0], NAMES[1]].map(|name| Replica::start(&machine, name));
    let node = Node::start(&machine, &NAMES[..2]);
    assert!(!node.handle.is_led(), "nobody was heard yet");
    eventually("led", || node.handle.is_led()).await;
    first.behaviour.leaderless.store(true, Ordering::Relaxed);
    eventually("one says so", || node.handle.sessions()[0].leaderless).await;
    assert!(node.handle.is_led(), "the other knows better");
    second.behaviour.leaderless.store(true, Ordering::Relaxed);
    eventually("both say so", || !node.handle.is_led()).await;
    assert_eq!(node.handle.control_state(), ControlState::Connected);
    // What a replica said before it died counts for nothing.
    second.behaviour.leaderless.store(false, Ordering::Relaxed);
    eventually("led again", || node.handle.is_led()).await;
    second.crash();
    eventually("the other one is left", || !node.handle.is_led()).await;
}

#[tokio::test(start_paused = true)]
async fn any_replica_is_answered_in_time_or_refused_in_time_and_no_beat_waits() {
    let machine = Machine::default();
    let [_first, second, _third] = NAMES.map(|name| Replica::start(&machine, name));
    let node = Node::start(&machine, &NAMES);
    eventually("all up", || (0..3).all(|index| is_up(&node, index))).await;
    let asked = Instant::now();
    // The node never answers question 0; question 7 does not wait for it. Of 20 more, 14 find a place.
    let ids = [0, 7].into_iter().chain(std::iter::repeat_n(0, 20));
    *second.behaviour.queries.lock().unwrap() = ids.map(|id| v1::Query { id, question: None }).collect();
    let answers = || -> Vec<(u64, String)> {
        let beats = second.behaviour.beats.lock().unwrap();
        let text = |reply: &v1::Reply| match reply.answer.clone().unwrap() {
            v1::reply::Answer::Explanation(explanation) => explanation.lines.join(","),
            v1::reply::Answer::Error(error) => error,
            v1::reply::Answer::FoundRequest(found) => panic!("unexpected {found:?}"),
        };
        beats.iter().flat_map(|beat| &beat.replies).map(|reply| (reply.id, text(reply))).collect()
    };
    eventually("the quick ones are answered", || answers().len() == 7).await;
    assert!(asked.elapsed() < Duration::from_millis(600), "{:?}", asked.elapsed());
    let refused = (0, "the node is answering as many questions as it may".to_owned());
    assert_eq!(answers().iter().filter(|answer| **answer == refused).count(), 6);
    assert!(answers().contains(&(7, "false".to_owned())));
    eventually("the others are given up", || answers().len() == 22).await;
    assert_eq!(answers().iter().filter(|(_, text)| text == "no answer in time").count(), 15);
    assert!(is_up(&node, 1));
    let beats = second.behaviour.beats.lock().unwrap();
    assert!(beats.iter().zip(1..).all(|(beat, sequence)| beat.sequence == sequence), "each is numbered");
}

#[tokio::test(start_paused = true)]
async fn injected_faults_and_outages_come_down_from_any_replica() {
    let machine = Machine::default();
    let replicas = NAMES.map(|name| Replica::start(&machine, name));
    let node = Node::start(&machine, &NAMES);
    eventually("all up", || (0..3).all(|index| is_up(&node, index))).await;
    let list = v1::FaultList { epoch: 1, revision: 7, faults: vec![v1::ActiveFault::default()] };
    *replicas[2].behaviour.faults.lock().unwrap() = Some(list.clone());
    let seen = || node.recorder.0.lock().unwrap().faults.clone();
    eventually("the node is told", || !seen().is_empty()).await;
    assert_eq!(seen(), [list]);
    let list = v1::OutageList { epoch: 1, revision: 8, outages: vec![fleet::v1::UpstreamOutage::default()] };
    *replicas[1].behaviour.outages.lock().unwrap() = Some(list.clone());
    let seen = || node.recorder.0.lock().unwrap().outages.clone();
    eventually("the node is told", || !seen().is_empty()).await;
    assert_eq!(seen(), [list]);
}
