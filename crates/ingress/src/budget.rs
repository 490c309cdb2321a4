//! A budget of bytes that all requests share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counting in blocks keeps the count within a semaphore's range; 4 KiB is a page.
const BLOCK_BYTES: usize = 4096;

/// The budget; cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    blocks: Arc<Semaphore>,
}

/// Part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    permit: OwnedSemaphorePermit,
}

impl Budget {
    /// A budget of about `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { blocks: Arc::new(Semaphore::new((bytes / BLOCK_BYTES).min(Semaphore::MAX_PERMITS))) }
    }

    /// Takes room for `bytes`, or `None` if there is not enough.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Share> {
        let blocks = u32::try_from(bytes.div_ceil(BLOCK_BYTES)).ok()?;
        let permit = Arc::clone(&self.blocks).try_acquire_many_owned(blocks).ok()?;
        Some(Share { permit })
    }

    /// Grows `share` to hold `bytes`; `false` if there is not enough left.
    pub fn grow(&self, share: &mut Share, bytes: usize) -> bool {
        let missing = bytes.div_ceil(BLOCK_BYTES).saturating_sub(share.permit.num_permits());
        if missing == 0 {
            return true;
        }
        match self.take(missing * BLOCK_BYTES) {
            Some(more) => {
                share.permit.merge(more.permit);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_missing_until_it_is_dropped() {
        let budget = Budget::new(10 * BLOCK_BYTES);
        let mut share = budget.take(1).unwrap();
        assert!(budget.grow(&mut share, 9 * BLOCK_BYTES));
        let last = budget.take(BLOCK_BYTES).unwrap();
        assert!(budget.take(1).is_none());
        assert!(!budget.grow(&mut share, 10 * BLOCK_BYTES));
        drop(last);
        assert!(budget.grow(&mut share, 10 * BLOCK_BYTES));
        drop(share);
        assert!(budget.take(10 * BLOCK_BYTES).is_some());
    }
}
