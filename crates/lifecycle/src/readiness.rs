//! Whether a component can serve, and if not, why.

use std::sync::Arc;

use tokio::sync::watch;

/// A flag with a reason; cheap to clone, starts as not ready.
#[derive(Debug, Clone)]
pub struct Readiness {
    state: Arc<watch::Sender<Result<(), String>>>,
}

impl Readiness {
    /// Not ready, because of `reason`.
    pub fn waiting(reason: impl Into<String>) -> Self {
        Self { state: Arc::new(watch::Sender::new(Err(reason.into()))) }
    }

    /// From now on it can serve.
    pub fn ready(&self) {
        self.state.send_if_modified(|state| std::mem::replace(state, Ok(())).is_err());
    }

    /// From now on it cannot serve.
    pub fn not_ready(&self, reason: impl Into<String>) {
        drop(self.state.send_replace(Err(reason.into())));
    }

    /// `Ok`, or why not.
    pub fn check(&self) -> Result<(), String> {
        self.state.borrow().clone()
    }

    /// Returns when it is ready.
    pub async fn wait(&self) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = self.state.subscribe().wait_for(Result::is_ok).await;
    }
}
