//! What an operator says about a rollout, with the defaults filled in.

use std::time::Duration;

use meridian_proto::admin::v1::{RolloutPolicy, rollout_policy::Mode};

/// A cell that takes a commit badly mostly shows it at once; errors need some requests.
pub(crate) const DEFAULT_BAKE: Duration = Duration::from_secs(30);
/// Longer is no rollout but two configurations.
const MAX_BAKE: Duration = Duration::from_secs(86_400);

/// How a commit is to come to the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// `None`: by the shape of the fleet.
    pub(crate) staged: Option<bool>,
    pub(crate) bake: Duration,
}

impl Policy {
    /// # Errors
    /// Says what is wrong with the request.
    pub(crate) fn read(message: Option<&RolloutPolicy>) -> Result<Self, String> {
        let message = message.copied().unwrap_or_default();
        let bake = match Duration::from_millis(u64::from(message.bake_ms)) {
            Duration::ZERO => DEFAULT_BAKE,
            bake if bake <= MAX_BAKE => bake,
            _ => return Err(format!("rollout.bake_ms may be {} at most, which is a day", MAX_BAKE.as_millis())),
        };
        let staged = match message.mode() {
            Mode::Unspecified => None,
            Mode::Immediate if message.bake_ms > 0 => {
                return Err("rollout.bake_ms does nothing for an immediate rollout".to_owned());
            }
            Mode::Immediate => Some(false),
            Mode::Staged => Some(true),
        };
        Ok(Self { staged, bake })
    }

    /// Whether it is staged. One whose predecessor is unfinished is: what cells run now is what is known to be good.
    pub(crate) fn is_staged(self, divided: bool, unfinished: bool) -> bool {
        self.staged.unwrap_or(divided || unfinished)
    }
}
