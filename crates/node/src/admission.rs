//! Admits requests up to the node's capacity and sheds the rest at once.

use std::sync::Arc;
use std::time::Duration;

use meridian_ingress::{Refused, Retry};
use meridian_types::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a shed client is asked to wait: long enough for resolvers to hand out another region, short for a person.
const SHED_PAUSE: Duration = Duration::from_secs(1);

/// The node's capacity.
pub(crate) struct Admission {
    slots: Arc<Semaphore>,
    max_in_flight: u32,
}

impl Admission {
    pub(crate) fn new(max_in_flight: u32) -> Self {
        let max_in_flight = max_in_flight.max(1);
        Self { slots: Arc::new(Semaphore::new(max_in_flight as usize)), max_in_flight }
    }

    /// A place for one request; give it back by dropping it.
    ///
    /// # Errors
    /// 503 when the node is full.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, Refused> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            Refused::new(ErrorCode::Overloaded, "the node holds as many requests as it may")
                .retry(Retry::After(SHED_PAUSE))
        })
    }

    pub(crate) fn in_flight(&self) -> u32 {
        let free = u32::try_from(self.slots.available_permits()).unwrap_or(u32::MAX);
        self.max_in_flight.saturating_sub(free)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.slots.available_permits() == 0
    }
}
