//! The two signals of a stop: drain (take nothing new, finish what is open) and force (leave now).

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Seen by every component; cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    drain: CancellationToken,
    force: CancellationToken,
}

/// Held by who decides to stop. Dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct ShutdownTrigger {
    shutdown: Shutdown,
}

/// A new pair.
pub fn shutdown() -> (ShutdownTrigger, Shutdown) {
    let shutdown = Shutdown { drain: CancellationToken::new(), force: CancellationToken::new() };
    (ShutdownTrigger { shutdown: shutdown.clone() }, shutdown)
}

impl Shutdown {
    /// Returns when the drain has begun.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Returns when everything has to end now.
    pub async fn forced(&self) {
        self.force.cancelled().await;
    }

    /// A shutdown that follows this one and can also be triggered alone: one component of several in a process.
    pub fn child(&self) -> (ShutdownTrigger, Shutdown) {
        let shutdown = Shutdown { drain: self.drain.child_token(), force: self.force.child_token() };
        (ShutdownTrigger { shutdown: shutdown.clone() }, shutdown)
    }
}

impl ShutdownTrigger {
    /// Begins the drain. Repeating it is harmless.
    pub fn drain(&self) {
        self.shutdown.drain.cancel();
    }

    /// Ends everything now; implies the drain.
    pub fn force(&self) {
        self.drain();
        self.shutdown.force.cancel();
    }

    /// Begins the drain, and forces after `grace`.
    pub async fn drain_then_force(&self, grace: Duration) {
        self.drain();
        tokio::time::sleep(grace).await;
        self.force();
    }
}

/// Waits for SIGINT or SIGTERM: the first begins the drain, a second one or the end of `grace` forces.
pub async fn on_signals(trigger: ShutdownTrigger, grace: Duration) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!(grace_s = grace.as_secs(), "draining; a second signal stops at once");
    trigger.drain();
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = tokio::time::sleep(grace) => {}
    }
    trigger.force();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_child_follows_its_parent_and_not_the_other_way_round() {
        let (parent, seen) = shutdown();
        let (child, child_seen) = seen.child();
        child.force();
        child_seen.forced().await;
        assert!(!seen.is_draining());
        let (_other, other_seen) = seen.child();
        parent.drain_then_force(Duration::from_secs(5)).await;
        other_seen.forced().await;
        assert!(other_seen.is_draining());
    }
}
