//! Background tasks, each with a name and with what its failure means.

use std::future::Future;

use tokio_util::task::TaskTracker;

use crate::{Shutdown, ShutdownTrigger};

/// What it means when a task ends before the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The component cannot go on: the shutdown begins.
    Essential,
    /// The component goes on without it; it is logged.
    Helper,
}

/// The tasks of one component.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    trigger: ShutdownTrigger,
    shutdown: Shutdown,
}

impl Tasks {
    /// Tasks that stop with `shutdown`; an essential one that fails pulls `trigger`.
    pub fn new(trigger: ShutdownTrigger, shutdown: Shutdown) -> Self {
        Self { tracker: TaskTracker::new(), trigger, shutdown }
    }

    /// Runs `task`, which is dropped when the shutdown is forced. A task that minds the drain listens for it itself.
    pub fn spawn(&self, name: &'static str, kind: Kind, task: impl Future<Output = ()> + Send + 'static) {
        let (trigger, shutdown) = (self.trigger.clone(), self.shutdown.clone());
        self.tracker.spawn(async move {
            // The task's own panic must not pass unseen: it is caught by joining an inner task.
            let mut inner = tokio::spawn(task);
            let outcome = tokio::select! {
                biased;
                outcome = &mut inner => outcome,
                () = shutdown.forced() => {
                    inner.abort();
                    return;
                }
            };
            if shutdown.is_draining() {
                return;
            }
            match (outcome, kind) {
                (Ok(()), Kind::Helper) => tracing::debug!(task = name, "task ended"),
                (Ok(()), Kind::Essential) => {
                    tracing::error!(task = name, "essential task ended; stopping");
                    trigger.drain();
                }
                (Err(error), Kind::Helper) => tracing::error!(task = name, %error, "task failed"),
                (Err(error), Kind::Essential) => {
                    tracing::error!(task = name, %error, "essential task failed; stopping");
                    trigger.drain();
                }
            }
        });
    }

    /// Returns when every task has ended. Call it after the drain began.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown;

    #[tokio::test]
    async fn an_essential_task_that_ends_begins_the_drain() {
        let (trigger, seen) = shutdown();
        let tasks = Tasks::new(trigger.clone(), seen.clone());
        tasks.spawn("helper", Kind::Helper, async {});
        tasks.spawn("forever", Kind::Helper, std::future::pending());
        tasks.spawn("essential", Kind::Essential, async {});
        seen.draining().await;
        trigger.force();
        tasks.finished().await;
    }
}
