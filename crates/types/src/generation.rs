//! Numbers that order things in time.

use std::fmt;

/// A commit. 0 is "none": the store before the first commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub struct CommitId(pub u64);

impl CommitId {
    /// Before the first commit.
    pub const NONE: Self = Self(0);

    /// The commit made after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Orders plans: first by the store's epoch, which counts restores, then by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub struct PlanId {
    /// Restores of the store.
    pub epoch: u64,
    /// Plans made in the epoch.
    pub number: u64,
}

impl PlanId {
    /// The plan made after this one in `epoch`.
    pub fn next(self, epoch: u64) -> Self {
        Self { epoch, number: self.number.saturating_add(1) }
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// One for each start of a node's process; a higher one supersedes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u64);
