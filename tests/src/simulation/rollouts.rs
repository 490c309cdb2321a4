//! What the operator of a storm does about commits, as the seed says: makes them, takes old ones back, and pauses, resumes
//! and aborts what is on its way to the cells.

use std::time::Duration;

use anyhow::ensure;
use meridian_proto::admin::v1::change_rollout_request::Action;
use meridian_proto::admin::v1::rollout_policy::Mode;
use meridian_proto::admin::v1::{ChangeRolloutRequest, GetRolloutRequest, RollbackRequest, RolloutPolicy};
use meridian_proto::fleet::v1::RolloutState;
use tokio::time::timeout;

use super::operator::{CALL, Operator};

/// The longest that a cell runs a commit before the next one gets it; six cells and a storm of half a minute.
const LONGEST_BAKE_MS: u64 = 3_000;
const SHORTEST_BAKE_MS: u64 = 200;

/// Every cell at once.
pub(super) fn everywhere() -> RolloutPolicy {
    RolloutPolicy { mode: Mode::Immediate.into(), bake_ms: 0 }
}

/// One cell after the other.
pub(super) fn cell_by_cell(bake: Duration) -> RolloutPolicy {
    RolloutPolicy { mode: Mode::Staged.into(), bake_ms: u32::try_from(bake.as_millis()).unwrap_or(u32::MAX) }
}

impl Operator {
    /// The next thing, if the control plane takes it now.
    pub(super) async fn act(&mut self) {
        let bake = SHORTEST_BAKE_MS + self.draw(LONGEST_BAKE_MS - SHORTEST_BAKE_MS);
        let staged = cell_by_cell(Duration::from_millis(bake));
        let done = match self.draw(10) {
            0..=3 => self.commit(staged).await,
            4 => self.commit(everywhere()).await,
            // By the shape of the fleet, and so slow that the first cell is ahead for as long as the storm lasts.
            5 => self.commit(RolloutPolicy::default()).await,
            6 => self.roll_back(staged).await,
            7 | 8 => self.change_rollout().await,
            // Watches.
            _ => return,
        };
        match done {
            Ok(what) => {
                self.commits += 1;
                self.eyes.say(&what);
            }
            Err(_) => self.refused += 1,
        }
    }

    fn draw(&self, below: u64) -> u64 {
        self.host.entropy.next_u64() % below
    }

    /// A new commit with the content of an old one.
    async fn roll_back(&self, rollout: RolloutPolicy) -> anyhow::Result<String> {
        let drawn = self.draw(u64::MAX);
        let attempt = async |replica| {
            let head = self.fleet(replica).await?.head_commit;
            ensure!(head > 0, "there is no commit");
            let to = 1 + drawn % head;
            let request = RollbackRequest {
                request_id: self.request_id(),
                expected_commit: head,
                to_commit: to,
                rollout: Some(rollout),
                ..Default::default()
            };
            let answer = timeout(CALL, self.client(replica).await?.rollback(request)).await??.into_inner();
            ensure!(answer.mistakes.is_empty(), "refused: {:?}", answer.mistakes);
            Ok(format!("commit {} rolls back to {to}, {}", answer.commit, answer.rollout_reason))
        };
        self.anywhere(attempt).await
    }

    /// Pauses, resumes or aborts the head's rollout.
    async fn change_rollout(&self) -> anyhow::Result<String> {
        let aborts = self.draw(2) == 0;
        let attempt = async |replica| {
            let mut client = self.client(replica).await?;
            let now = timeout(CALL, client.get_rollout(GetRolloutRequest { commit: 0 })).await??.into_inner();
            let action = match now.state() {
                RolloutState::Running | RolloutState::Paused if aborts => Action::Abort,
                RolloutState::Running => Action::Pause,
                RolloutState::Paused => Action::Resume,
                _ => return Ok(format!("nothing to change about the rollout of {}: {}", now.commit, now.reason)),
            };
            let request = ChangeRolloutRequest {
                request_id: self.request_id(),
                commit: now.commit,
                action: action.into(),
                ..Default::default()
            };
            let changed = timeout(CALL, client.change_rollout(request)).await??.into_inner();
            Ok(format!("rollout of {}: {}", changed.commit, changed.reason))
        };
        self.anywhere(attempt).await
    }
}
