//! Writes what is held to the last-known-good file: at once for a commit and for what is switched off, a little later for the
//! rest.

use std::sync::Arc;
use std::time::Duration;

use meridian_host::{Entropy, jitter};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::held::{Held, HeldSwitches};
use crate::last_known_good::Store;
use crate::metrics::{Metrics, Outcome};

/// Accounts and plans change often and a lost change costs only a little catching up: they are written this late, all
/// changes together.
const DELAY: Duration = Duration::from_secs(2);
/// Between attempts to write when the disk refuses.
const RETRY: Duration = Duration::from_secs(5);
/// A disk that has not answered for so long does not work; an fsync of a file of some megabytes takes less.
const HANGS: Duration = Duration::from_secs(5);
/// Bytes of an error that every beat carries while it stands.
const MAX_ERROR: usize = 200;
/// Commits that wait to be written; the lane has at most one under way.
const WAITING: usize = 4;

/// Asks the keeper to write.
#[derive(Clone)]
pub(crate) struct Flush {
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

impl Flush {
    /// Resolves once everything that is held now is in the file; while the disk refuses, it does not.
    pub(crate) async fn written(self) -> bool {
        let (done, written) = oneshot::channel();
        self.requests.send(done).await.is_ok() && written.await.is_ok()
    }
}

/// The task that owns the files.
pub(crate) struct Keeper {
    store: Store,
    held: watch::Receiver<Held>,
    requests: mpsc::Receiver<oneshot::Sender<()>>,
    waiting: Vec<oneshot::Sender<()>>,
    /// As the file has them.
    switches: Option<Arc<HeldSwitches>>,
    /// Why the last attempt failed; empty: it did not.
    unsaved: watch::Sender<String>,
    entropy: Arc<dyn Entropy>,
    metrics: Metrics,
}

impl Keeper {
    pub(crate) fn new(
        store: Store,
        held: watch::Receiver<Held>,
        unsaved: watch::Sender<String>,
        entropy: Arc<dyn Entropy>,
        metrics: Metrics,
    ) -> (Self, Flush) {
        let (sender, requests) = mpsc::channel(WAITING);
        let switches = held.borrow().switches.clone();
        let keeper = Self { store, held, requests, waiting: Vec::new(), switches, unsaved, entropy, metrics };
        (keeper, Flush { requests: sender })
    }

    /// Runs until nobody holds anything any more.
    pub(crate) async fn run(mut self) {
        let mut due: Option<Instant> = None;
        loop {
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => due = self.write().await.err().map(|retry| Instant::now() + retry),
                changed = self.held.changed() => match changed {
                    // A switch that is lost with the process is a call that nobody wanted.
                    Ok(()) if self.held.borrow().switches != self.switches => due = Some(Instant::now()),
                    Ok(()) => due = due.or(Some(Instant::now() + DELAY)),
                    Err(_) => return,
                },
                request = self.requests.recv() => match request {
                    Some(done) => {
                        self.waiting.retain(|waiting| !waiting.is_closed());
                        self.waiting.push(done);
                        due = Some(Instant::now());
                    }
                    None => return,
                },
            }
        }
    }

    /// Writes all that is held; `Err` says when to try again.
    async fn write(&mut self) -> Result<(), Duration> {
        let held = self.held.borrow_and_update().clone();
        match told_when_hanging(&self.unsaved, self.store.save(&held)).await {
            Ok(()) => {
                self.metrics.file_writes.get_or_create(&Outcome::DONE).inc();
                self.unsaved.send_replace(String::new());
                self.switches = held.switches;
                for done in self.waiting.drain(..) {
                    // Whoever stopped waiting does not mind.
                    let _ = done.send(());
                }
                Ok(())
            }
            Err(error) => {
                self.metrics.file_writes.get_or_create(&Outcome::FAILED).inc();
                let mut why = error.to_string();
                why.truncate(why.floor_char_boundary(MAX_ERROR));
                self.unsaved.send_replace(why);
                tracing::error!(%error, "the last-known-good file cannot be written; a restart may find an old one");
                Err(RETRY / 2 + jitter(&*self.entropy, RETRY / 2))
            }
        }
    }
}

/// What `saving` gives. While it hangs that is told: nothing else shows it.
async fn told_when_hanging<T>(unsaved: &watch::Sender<String>, saving: impl Future<Output = T>) -> T {
    tokio::pin!(saving);
    if let Ok(saved) = tokio::time::timeout(HANGS, &mut saving).await {
        return saved;
    }
    let why = format!("no answer for {} s", HANGS.as_secs());
    tracing::error!(why, "the last-known-good file is not written; a restart may find an old one");
    unsaved.send_replace(why);
    saving.await
}
