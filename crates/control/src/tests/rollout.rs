//! Rollouts over real streams: nodes played by hand, in cells, towards one replica or two.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use meridian_proto::admin::v1 as admin;
use meridian_proto::admin::v1::change_rollout_request::Action;
use meridian_proto::fleet::v1::RolloutState;
use meridian_proto::node::v1::{Hello, NodeIdentity};
use meridian_store::Store;
use meridian_store::memory::MemoryStore;
use tokio::task::JoinHandle;
use tonic::Code;

use super::node::{Pulsing, Syncing, hello, identity};
use super::sandbox::{Replica, apply, everything, model, provider, region, request_id};

/// Commits in the order in which they came, with the names that each body carried.
type Came = Vec<(u64, Vec<String>)>;

/// A node of a cell: it takes every commit but one, and remembers what came.
struct Player {
    name: &'static str,
    pulse: Pulsing,
    came: Arc<Mutex<Came>>,
    task: JoinHandle<()>,
}

impl Player {
    /// `at`: `region/cell`. It pulses to `pulse` and takes commits from `sync`.
    async fn start(pulse: SocketAddr, sync: SocketAddr, at: &str, name: &'static str, refuses: u64) -> Self {
        let (region, cell) = at.split_once('/').unwrap();
        let identity = NodeIdentity { cell: cell.to_owned(), ..identity(region, name, 1) };
        let pulse = Pulsing::with(pulse, identity.clone(), &[]).await;
        let hello = Hello { identity: Some(identity), ..hello() };
        let mut sync = Syncing::with(sync, hello).await.unwrap();
        let came = Arc::new(Mutex::new(Came::new()));
        let (seen, words) = (came.clone(), pulse.words.clone());
        let task = tokio::spawn(async move {
            loop {
                let body = sync.body().await;
                let names = body.upserts.iter().map(|upsert| upsert.name.clone()).collect();
                seen.lock().unwrap().push((body.commit, names));
                if body.commit == refuses {
                    sync.refuse(body.commit, "no such file").await;
                    words.lock().unwrap().refuses = (body.commit, "no such file".to_owned(), body.digest.to_vec());
                } else {
                    sync.take(body).await;
                    words.lock().unwrap().serves = (sync.commit, sync.content.digest().as_bytes().to_vec());
                }
            }
        });
        Self { name, pulse, came, task }
    }

    fn commits(&self) -> Vec<u64> {
        self.came.lock().unwrap().iter().map(|(commit, _)| *commit).collect()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A replica and players of it, `n1` and so on, in these places (`region/cell`), all of which serve the first commit.
async fn start<const N: usize>(store: &MemoryStore, places: [&str; N]) -> (Replica, [Player; N]) {
    let mut replica = Replica::start(store, "cp-1").await;
    let first = replica.apply(apply(0, everything(), Vec::new())).await;
    assert_eq!(first.rollout_state(), RolloutState::Done, "there is nothing to hold back");
    let to = replica.address;
    let players = places.into_iter().zip(["n1", "n2", "n3", "n4"]);
    let players = join_all(players.map(|(at, name)| Player::start(to, to, at, name, 0))).await;
    all_serve(&mut replica, 1, N).await;
    (replica, players.try_into().ok().expect("a name for each"))
}

fn staged(expected: u64, upserts: Vec<meridian_proto::resources::v1::Resource>, bake_ms: u32) -> admin::ApplyRequest {
    let rollout = Some(admin::RolloutPolicy { bake_ms, ..admin::RolloutPolicy::default() });
    admin::ApplyRequest { rollout, ..apply(expected, upserts, Vec::new()) }
}

/// What is wrong with what a node serves; that it obeys no plan is so, for nobody plays that.
fn wrong(node: &admin::FleetNode) -> Vec<&String> {
    node.divergences.iter().filter(|text| !text.contains("obeys plan")).collect()
}

/// Every node serves that commit, and nothing differs from what it should be.
async fn all_serve(replica: &mut Replica, commit: u64, count: usize) -> admin::Fleet {
    let serves = |node: &admin::FleetNode| {
        (node.commit, node.intended_commit, wrong(node).len()) == (commit, commit, 0) && node.digest_matches
    };
    let what = format!("{count} nodes serve commit {commit}");
    replica.fleet_with(&what, |fleet| fleet.nodes.len() == count && fleet.nodes.iter().all(serves)).await
}

async fn status(replica: &mut Replica) -> admin::Rollout {
    replica.admin.get_rollout(admin::GetRolloutRequest { commit: 0 }).await.unwrap().into_inner()
}

async fn change(replica: &mut Replica, commit: u64, action: Action) -> Result<admin::Rollout, tonic::Status> {
    let reason = "why not".to_owned();
    let request = admin::ChangeRolloutRequest { request_id: request_id(), commit, action: action.into(), reason };
    Ok(replica.admin.change_rollout(request).await?.into_inner())
}

#[tokio::test]
async fn a_commit_comes_to_one_cell_after_the_other_and_the_store_keeps_no_pin() {
    let store = MemoryStore::new(1);
    let (mut replica, _players) = start(&store, ["eu/a", "eu/a", "eu/b", "us/a"]).await;
    let begun = replica.apply(staged(1, vec![provider("openai", "anthropic")], 1_000)).await;
    assert_eq!((begun.rollout_state(), begun.rollout_reason.as_str()), (RolloutState::Running, "cell by cell"));
    let fleet =
        replica.fleet_with("the first cell serves it", |fleet| fleet.nodes.iter().any(|node| node.commit == 2)).await;
    for node in &fleet.nodes {
        let expected = if node.node == "n3" { 2 } else { 1 };
        assert_eq!((node.commit, node.intended_commit), (expected, expected), "{}", node.node);
        assert_eq!(wrong(node), Vec::<&String>::new(), "a cell that waits is in step");
    }
    let shown = fleet.rollout.unwrap();
    assert_eq!((shown.commit, shown.from, shown.state()), (2, 1, RolloutState::Running));
    all_serve(&mut replica, 2, 4).await;
    replica.fleet_with("the rollout is done", |fleet| fleet.rollout.is_none()).await;
    let done = status(&mut replica).await;
    assert_eq!((done.state(), done.reason.as_str()), (RolloutState::Done, "3 cells run it"));
    let told = async || store.list("/meridian/test/pin/").await.unwrap().entries.len();
    super::sandbox::until("no pin is left", async || told().await == 0).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_nack_that_only_asks_for_the_whole_commit_takes_no_rollout_back() {
    let (mut replica, [_waits]) = start(&MemoryStore::new(1), ["eu/main"]).await;
    let identity = NodeIdentity { cell: "canary".to_owned(), ..identity("eu", "by-hand", 1) };
    let pulse = Pulsing::with(replica.address, identity.clone(), &[]).await;
    let says_hello = Hello { identity: Some(identity), ..hello() };
    let mut sync = Syncing::with(replica.address, says_hello.clone()).await.unwrap();
    let take = async |sync: &mut Syncing, commit: u64| {
        let body = sync.body().await;
        assert_eq!(body.commit, commit);
        sync.take(body).await;
        pulse.say(|words| words.serves = (commit, sync.content.digest().as_bytes().to_vec()));
    };
    take(&mut sync, 1).await;
    all_serve(&mut replica, 1, 2).await;

    replica.apply(staged(1, vec![provider("openai", "anthropic")], 100)).await;
    assert_eq!(sync.body().await.base, 1);
    sync.nack(2, "conflict", "the base, commit 1, is not held").await;
    let taken_back = replica.fleet_with("it is taken back", |fleet| {
        fleet.rollout.as_ref().is_some_and(|rollout| rollout.state() == RolloutState::RolledBack)
    });
    let taken_back = tokio::time::timeout(std::time::Duration::from_millis(700), taken_back).await;
    assert!(taken_back.is_err(), "the rollout was taken back");
    assert_eq!(status(&mut replica).await.state(), RolloutState::Running);
    let node = replica.fleet().await.nodes.into_iter().find(|node| node.node == "by-hand").unwrap();
    assert_eq!(node.faults, []);

    let mut again = Syncing::with(replica.address, says_hello).await.unwrap();
    take(&mut again, 2).await;
    all_serve(&mut replica, 2, 2).await;
    replica.fleet_with("the rollout is done", |fleet| fleet.rollout.is_none()).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_refusal_of_another_commit_that_had_the_number_before_a_restore_says_nothing() {
    let (mut replica, [first, _second]) = start(&MemoryStore::new(1), ["eu/a", "us/a"]).await;
    first.pulse.words.lock().unwrap().refuses = (2, "no such codec".to_owned(), vec![7; 32]);
    replica.fleet_with("the refusal is known", |fleet| fleet.nodes.iter().any(|node| !node.faults.is_empty())).await;
    replica.apply(staged(1, vec![provider("openai", "anthropic")], 100)).await;
    replica.fleet_with("both serve it", |fleet| fleet.nodes.iter().all(|node| node.commit == 2)).await;
    replica.fleet_with("the rollout is done", |fleet| fleet.rollout.is_none()).await;
    assert_eq!(status(&mut replica).await.state(), RolloutState::Done);
    replica.stop().await;
}

#[tokio::test]
async fn a_poisoned_commit_is_refused_by_the_first_cell_and_taken_back_whichever_replica_got_the_nack() {
    let store = MemoryStore::new(1);
    let mut leader = Replica::start(&store, "cp-1").await;
    leader.fleet_with("it leads", |fleet| fleet.leader == "cp-1").await;
    let other = Replica::start(&store, "cp-2").await;
    leader.apply(apply(0, everything(), Vec::new())).await;
    let (to, elsewhere) = (leader.address, other.address);
    let canary = Player::start(to, elsewhere, "us/canary", "n1", 2).await;
    let well = [Player::start(to, to, "us/a", "n2", 2).await, Player::start(to, to, "eu/a", "n3", 2).await];
    all_serve(&mut leader, 1, 3).await;
    leader.apply(staged(1, vec![model("gpt", "openai"), provider("bad", "anthropic")], 60_000)).await;
    let fleet = leader
        .fleet_with("it is taken back", |fleet| {
            fleet.rollout.as_ref().is_some_and(|rollout| rollout.state() == RolloutState::RolledBack)
        })
        .await;
    let reason = "n1 in us/canary refused it: no such file";
    let rollout = fleet.rollout.unwrap();
    assert_eq!((rollout.commit, rollout.from, rollout.reason.as_str()), (2, 1, reason));
    let pinned: Vec<_> = rollout.cells.iter().map(|cell| (cell.cell.as_str(), cell.commit, &*cell.reason)).collect();
    assert_eq!(pinned, [("canary", 1, reason), ("a", 1, ""), ("a", 1, "")]);
    let fleet = all_serve(&mut leader, 1, 3).await;
    assert_eq!(fleet.head_commit, 2, "it stays the head: the next commit builds on it");
    let refused = fleet.nodes.iter().find(|node| node.node == "n1").unwrap();
    assert_eq!(refused.faults[0].text, "no such file", "a replica that did not get the Nack shows it too");
    for player in &well {
        assert_eq!(player.commits(), [1], "{} never saw it", player.name);
    }
    // The repaired one begins with the first cell again.
    leader.apply(staged(2, vec![provider("bad", "openai_compatible")], 200)).await;
    all_serve(&mut leader, 3, 3).await;
    assert_eq!(canary.commits(), [1, 2, 3]);
    let before = leader.admin.get_rollout(admin::GetRolloutRequest { commit: 2 }).await.unwrap().into_inner();
    assert_eq!(before.state(), RolloutState::Superseded);
    leader.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn regions_wait_for_no_rollout_and_an_operator_pauses_resumes_and_aborts_one() {
    let (mut replica, [one, two]) = start(&MemoryStore::new(1), ["eu/a", "eu/b"]).await;
    replica.apply(staged(1, vec![provider("openai", "anthropic")], 60_000)).await;
    change(&mut replica, 2, Action::Pause).await.unwrap();
    let refused = change(&mut replica, 1, Action::Pause).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    let refused = change(&mut replica, 2, Action::Pause).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("paused by"), "{refused}");
    // A new region comes to both, under the number of the commit that each runs.
    replica.apply(staged(2, vec![region("sa", 60.0)], 60_000)).await;
    super::sandbox::until("both have the region", async || {
        [&one, &two].iter().all(|player| {
            let came = player.came.lock().unwrap();
            came.iter().any(|(_, names)| names.iter().any(|name| name == "sa"))
        })
    })
    .await;
    assert_eq!(two.commits().last(), Some(&1), "the model's change still waits");
    let aborted = change(&mut replica, 3, Action::Abort).await.unwrap();
    assert_eq!(aborted.state(), RolloutState::Aborted);
    all_serve(&mut replica, 1, 2).await;
    let refused = change(&mut replica, 3, Action::Resume).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    // At once, for who is sure.
    let immediate = admin::RolloutPolicy { mode: admin::rollout_policy::Mode::Immediate.into(), bake_ms: 0 };
    let sure = admin::ApplyRequest {
        rollout: Some(immediate),
        ..apply(3, vec![provider("openai", "openai_compatible"), model("new", "openai")], Vec::new())
    };
    assert_eq!(replica.apply(sure).await.rollout_state(), RolloutState::Done);
    all_serve(&mut replica, 4, 2).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_new_leader_carries_a_rollout_on() {
    let store = MemoryStore::new(1);
    let mut leader = Replica::start(&store, "cp-1").await;
    leader.fleet_with("it leads", |fleet| fleet.leader == "cp-1").await;
    let mut heir = Replica::start(&store, "cp-2").await;
    leader.apply(apply(0, everything(), Vec::new())).await;
    let to = heir.address;
    let players = [Player::start(to, to, "eu/a", "n1", 0).await, Player::start(to, to, "eu/b", "n2", 0).await];
    all_serve(&mut heir, 1, 2).await;
    leader.fleet_with("it knows both from the store", |fleet| fleet.nodes.len() == 2).await;
    let begun = leader.apply(staged(1, vec![provider("openai", "anthropic")], 1_000)).await;
    assert_eq!(begun.rollout_state(), RolloutState::Running);
    leader.stop().await;
    all_serve(&mut heir, 2, 2).await;
    heir.fleet_with("it is done", |fleet| fleet.leader == "cp-2" && fleet.rollout.is_none()).await;
    assert!(players.iter().all(|player| player.commits() == [1, 2]));
    heir.stop().await;
}
