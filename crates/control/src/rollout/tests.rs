//! Rollouts as short stories.

use std::collections::BTreeSet;
use std::time::Duration;

use meridian_proto::admin::v1::{RolloutPolicy, rollout_policy::Mode};
use meridian_proto::fleet::v1::RolloutState;
use meridian_types::{NodeName, RegionName};

use super::policy::DEFAULT_BAKE;
use super::*;

const BAKE: Duration = Duration::from_secs(10);

/// A fleet whose nodes apply what they get, and the rollout of commit 5.
struct Story {
    cells: Cells,
    watcher: Watcher,
    moved: BTreeSet<CellId>,
    state: RolloutState,
    now: Duration,
}

fn cell(text: &str) -> CellId {
    let (region, cell) = text.split_once('/').unwrap();
    CellId::new(&RegionName::new(region).unwrap(), cell).unwrap()
}

impl Story {
    /// Cells as `region/cell`, with a number of connected nodes each.
    fn new(cells: &[(&str, usize)]) -> Self {
        let nodes = |(at, count): &(&str, usize)| {
            let node = |i| NodeName::new(&format!("{}-{i}", at.replace('/', "-"))).unwrap();
            let member = || Member { incarnation: 1, connected: true, ..Member::default() };
            (cell(at), (0..*count).map(|i| (node(i), member())).collect())
        };
        Self {
            cells: Cells { members: cells.iter().map(nodes).collect() },
            watcher: Watcher::new(5),
            moved: BTreeSet::new(),
            state: RolloutState::Running,
            now: Duration::from_secs(100),
        }
    }

    fn node(&mut self, name: &str, change: impl FnOnce(&mut Member)) {
        let name = NodeName::new(name).unwrap();
        change(self.cells.members.values_mut().find_map(|nodes| nodes.get_mut(&name)).unwrap());
    }

    fn look(&mut self) -> Step {
        let moved = self.moved.clone();
        self.watcher.step(self.state, &self.cells, |cell| moved.contains(cell), BAKE, self.now)
    }

    /// What happens now; a cell that gets the commit has it at once, and its nodes serve it.
    fn go(&mut self) -> String {
        match self.look() {
            Step::Wait => "wait".to_owned(),
            Step::Pin(cell, why) => {
                for node in self.cells.members.get_mut(&cell).unwrap().values_mut() {
                    node.applied = true;
                }
                self.moved.insert(cell.clone());
                format!("{cell}: {why}")
            }
            Step::Finish(why) => format!("done: {why}"),
            Step::Back(why) => format!("back: {why}"),
        }
    }

    fn after(&mut self, time: Duration) -> String {
        self.now += time;
        self.go()
    }
}

#[test]
fn cells_get_it_one_by_one_the_canary_first_then_region_by_region() {
    let mut story = Story::new(&[("ap/a", 2), ("eu/a", 2), ("eu/b", 1), ("us/a", 2), ("us/b", 2)]);
    let mut seen = vec![story.go()];
    while !seen.last().unwrap().starts_with("done") {
        // Not before the time is over.
        assert_eq!(story.go(), "wait");
        assert_eq!(story.after(BAKE - Duration::from_millis(1)), "wait");
        seen.push(story.after(Duration::from_millis(1)));
    }
    let well = |n: u32| format!("{n} of 5 cells run it well");
    let expected = [
        "eu/b: the first cell".to_owned(),
        format!("eu/a: {}", well(1)),
        format!("ap/a: {}", well(2)),
        format!("us/a: {}", well(3)),
        format!("us/b: {}", well(4)),
        "done: 5 cells run it".to_owned(),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_cell_called_canary_goes_first_and_one_without_nodes_never_does() {
    let first = |cells: &[(&str, usize)]| Story::new(cells).go();
    assert_eq!(first(&[("eu/a", 1), ("us/canary", 3)]), "us/canary: the first cell");
    assert_eq!(first(&[("eu/a", 1), ("us/canary", 0)]), "eu/a: the first cell");
    assert_eq!(first(&[]), "done: no node is known");
    // Who is known and away is waited for, but not for ever; a leader that sees nobody does nothing.
    let mut story = Story::new(&[("eu/a", 1), ("us/a", 1)]);
    story.node("us-a-0", |node| node.connected = false);
    assert_eq!(story.go(), "eu/a: the first cell");
    assert_eq!(story.go(), "wait");
    assert_eq!(story.after(BAKE), "us/a: 1 of 2 cells run it well");
    assert_eq!(story.go(), "wait");
    assert_eq!(story.after(Duration::from_secs(29)), "wait");
    story.node("eu-a-0", |node| node.connected = false);
    assert_eq!(story.after(Duration::from_secs(60)), "wait");
    story.node("eu-a-0", |node| node.connected = true);
    story.go();
    assert_eq!(story.after(BAKE), "done: 2 cells run it");
    // Where nobody is there is nothing to wait for.
    let mut story = Story::new(&[("eu/a", 1), ("us/a", 0)]);
    story.go();
    story.go();
    assert_eq!(story.after(BAKE), "us/a: 1 of 2 cells run it well");
    assert_eq!(story.go(), "done: 2 cells run it");
}

#[test]
fn what_a_cell_takes_badly_is_taken_back() {
    let check = |what: &str, change: fn(&mut Member), wait: Duration, expected: &str| {
        let mut story = Story::new(&[("eu/a", 2), ("us/a", 2)]);
        story.go();
        assert_eq!(story.go(), "wait");
        story.node("eu-a-1", change);
        assert_eq!(story.after(wait), expected, "{what}");
    };
    let soon = Duration::from_secs(1);
    check(
        "a refusal",
        |node| (node.applied, node.refused) = (false, Some((5, "no such file".to_owned()))),
        soon,
        "back: eu-a-1 in eu/a refused it: no such file",
    );
    check("another commit's refusal", |node| node.refused = Some((4, "old".to_owned())), soon, "wait");
    check("a restart", |node| node.incarnation = 2, soon, "back: eu-a-1 in eu/a was started anew while it ran it");
    check("a slow node", |node| node.applied = false, soon, "wait");
    check("a node that is cut off", |node| node.connected = false, soon, "wait");
}

#[test]
fn a_node_that_never_applies_is_a_failure_and_one_that_comes_later_has_its_own_time() {
    let mut story = Story::new(&[("eu/a", 2), ("us/a", 2)]);
    story.go();
    story.go();
    assert!(story.after(BAKE).starts_with("us/a"));
    assert_eq!(story.go(), "wait");
    // Long after its cell has done its time a node is started anew, and has nothing yet.
    story.node("eu-a-1", |node| (node.incarnation, node.applied) = (2, false));
    assert_eq!(story.after(Duration::from_secs(1)), "wait");
    assert_eq!(story.after(Duration::from_secs(29)), "wait");
    assert_eq!(story.after(Duration::from_secs(1)), "back: eu-a-1 in eu/a did not apply it within 30 s");
    story.node("eu-a-1", |node| node.applied = true);
    assert_eq!(story.go(), "wait", "its cell has to run it for the whole time again");
    assert_eq!(story.after(BAKE), "done: 2 cells run it");
}

#[test]
fn a_refusal_in_a_later_cell_takes_it_back_from_all() {
    let mut story = Story::new(&[("eu/a", 1), ("us/a", 1)]);
    story.go();
    story.go();
    assert!(story.after(BAKE).starts_with("us/a"));
    story.node("us-a-0", |node| node.refused = Some((5, "no".to_owned())));
    assert_eq!(story.go(), "back: us-a-0 in us/a refused it: no");
}

#[test]
fn errors_count_when_they_are_many_more_than_elsewhere() {
    let check = |with: (u64, u64), without: (u64, u64), expected: &str| {
        let mut story = Story::new(&[("eu/a", 1), ("us/a", 1)]);
        // What came before does not count.
        story.node("eu-a-0", |node| (node.finished, node.failed) = (1000, 900));
        story.go();
        story.go();
        story.node("eu-a-0", |node| (node.finished, node.failed) = (1000 + with.0, 900 + with.1));
        story.node("us-a-0", |node| (node.finished, node.failed) = without);
        assert_eq!(story.after(BAKE), expected, "{with:?} {without:?}");
    };
    let on = "us/a: 1 of 2 cells run it well";
    check((100, 50), (100, 1), "back: 50 % of 100 requests fail in cells that run it, 1 % of 100 in the others");
    check((100, 6), (100, 1), on);
    // Everywhere alike: a provider's fault.
    check((100, 50), (100, 45), on);
    // Too few to tell, here or there.
    check((49, 49), (100, 1), on);
    check((100, 50), (49, 0), on);
}

#[test]
fn a_paused_one_waits_and_still_goes_back() {
    let mut story = Story::new(&[("eu/a", 1), ("us/a", 1)]);
    story.go();
    story.state = RolloutState::Paused;
    assert_eq!(story.after(BAKE * 2), "wait");
    story.node("eu-a-0", |node| node.refused = Some((5, "no".to_owned())));
    assert!(story.go().starts_with("back"));
}

#[test]
fn a_new_leader_gives_every_cell_its_whole_time_again() {
    let mut story = Story::new(&[("eu/a", 1), ("us/a", 1)]);
    story.go();
    story.after(BAKE - Duration::from_millis(1));
    story.watcher = Watcher::new(5);
    assert_eq!(story.after(Duration::from_millis(1)), "wait");
    assert!(story.after(BAKE).starts_with("us/a"));
}

#[test]
fn a_fleet_with_one_cell_a_region_changes_at_once_unless_told_otherwise() {
    let read = |mode: Mode, bake_ms| Policy::read(Some(&RolloutPolicy { mode: mode.into(), bake_ms }));
    let default = Policy::read(None).unwrap();
    assert_eq!(default, Policy { staged: None, bake: DEFAULT_BAKE });
    assert!(!Story::new(&[("eu/a", 2), ("us/a", 2)]).cells.are_divided());
    assert!(Story::new(&[("eu/a", 2), ("eu/b", 2)]).cells.are_divided());
    for (divided, unfinished, expected) in [(false, false, false), (true, false, true), (false, true, true)] {
        assert_eq!(default.is_staged(divided, unfinished), expected);
        assert!(!read(Mode::Immediate, 0).unwrap().is_staged(divided, unfinished));
        assert!(read(Mode::Staged, 1).unwrap().is_staged(divided, unfinished));
    }
    assert!(read(Mode::Immediate, 5).unwrap_err().contains("does nothing"));
    assert!(read(Mode::Staged, 86_400_001).unwrap_err().contains("a day"));
}
