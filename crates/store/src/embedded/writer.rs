//! The thread that owns the file: it decides writes one after the other, commits them in batches, then shows them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info};

use super::disk::Disk;
use crate::local::{Deadlines, Shared};
use crate::state::{Change, State};
use crate::{Error, LeaseId, Result, Revision, Txn, TxnOutcome};

/// Most commands in one commit: enough to share the cost of the sync, few enough to keep the first one's wait short.
const BATCH: usize = 64;

/// Where a command's outcome goes.
pub(super) type Done<T> = oneshot::Sender<Result<T>>;

/// What the writer can be asked to do.
pub(super) enum Command {
    Txn(Txn, Done<TxnOutcome>),
    Compact(Revision, Done<()>),
    Grant(Duration, Done<LeaseId>),
    KeepAlive(LeaseId, Done<Duration>),
    Revoke(LeaseId, Done<()>),
    Close,
}

/// What a started writer shares with its handles.
pub(super) struct Opened {
    pub(super) cluster_id: u64,
    pub(super) shared: Arc<Shared>,
}

/// Starts the thread and waits until it has the file open, or could not open it. `_stop` is dropped last.
pub(super) async fn start(
    dir: &Path,
    new_cluster_id: u64,
    queue: mpsc::Receiver<Command>,
    stop: watch::Sender<()>,
) -> Result<Opened> {
    let (opened, opening) = oneshot::channel();
    let dir: PathBuf = dir.to_owned();
    let unavailable =
        |reason: &str, e: std::io::Error| Error::Unavailable { reason: reason.to_owned(), source: Some(Box::new(e)) };
    // A small runtime of the thread's own gives it a queue with a deadline; it blocks on the disk by design.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| unavailable("cannot start the store's runtime", e))?;
    let run = move || {
        let writer = match Writer::open(&dir, new_cluster_id) {
            Ok((writer, shared)) => {
                let _ = opened.send(Ok(shared));
                writer
            }
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        runtime.block_on(writer.run(queue));
        // Only now is the file closed: `run` took the writer, and with it the disk.
        drop(stop);
    };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(run)
        .map_err(|e| unavailable("cannot start the store's writer", e))?;
    opening.await.map_err(|_| Error::unavailable("the store's writer stopped while it opened the file"))?
}

struct Writer {
    disk: Disk,
    /// Ahead of `shared` by the batch that is being written.
    state: State,
    shared: Arc<Shared>,
    deadlines: Deadlines,
    origin: Instant,
}

/// Sends the outcome of one command, once its batch is on disk or has failed.
type Reply = Box<dyn FnOnce(Result<(), Error>) + Send>;

impl Writer {
    fn open(dir: &Path, new_cluster_id: u64) -> Result<(Self, Opened)> {
        let disk = Disk::open(dir, new_cluster_id)?;
        let (cluster_id, state) = disk.load()?;
        let shared = Arc::new(Shared::new(state.clone()));
        let mut deadlines = Deadlines::default();
        for (id, lease) in state.leases() {
            deadlines.set(*id, lease.ttl);
        }
        info!(dir = %dir.display(), revision = state.revision().0, "embedded store is open");
        let writer = Self { disk, state, shared: shared.clone(), deadlines, origin: Instant::now() };
        Ok((writer, Opened { cluster_id, shared }))
    }

    /// Until `Close`, the last handle is gone, or the disk fails.
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut commands = Vec::with_capacity(BATCH);
        loop {
            let received = match self.deadlines.next() {
                Some(at) => tokio::time::timeout_at(self.origin + at, queue.recv_many(&mut commands, BATCH)).await.ok(),
                None => Some(queue.recv_many(&mut commands, BATCH).await),
            };
            let closing = received == Some(0) || commands.iter().any(|c| matches!(c, Command::Close));
            if let Err(error) = self.round(commands.drain(..)) {
                error!(%error, "embedded store cannot write and is closed");
                return;
            }
            if closing {
                return;
            }
        }
    }

    /// Decides a batch, writes it, shows it, answers.
    fn round(&mut self, commands: impl Iterator<Item = Command>) -> Result<()> {
        let mut changes = Vec::new();
        let mut replies = Vec::new();
        for lease in self.deadlines.take_due(self.origin.elapsed()) {
            let ended = self.state.decide_end(lease)?;
            self.take(ended, &mut changes);
        }
        for command in commands {
            replies.extend(self.decide(command, &mut changes));
        }
        let written = if changes.is_empty() { Ok(()) } else { self.disk.write(&changes, &self.state) };
        if written.is_ok() && !changes.is_empty() {
            let mut shared = self.shared.lock();
            changes.iter().for_each(|change| shared.apply(change));
            drop(shared);
            self.shared.announce();
        }
        for reply in replies {
            reply(match &written {
                Ok(()) => Ok(()),
                Err(e) => Err(Error::OutcomeUnknown { reason: format!("the disk failed: {e}"), source: None }),
            });
        }
        written
    }

    /// Takes one command as far as memory goes. An outcome that changes nothing still waits for its batch: it may
    /// rest on a change of the same batch.
    fn decide(&mut self, command: Command, changes: &mut Vec<Change>) -> Option<Reply> {
        match command {
            Command::Txn(txn, done) => {
                let outcome = self.state.decide(&txn).map(|decided| {
                    let succeeded = decided.is_some();
                    self.take(decided.unwrap_or_default(), changes);
                    TxnOutcome { succeeded, revision: self.state.revision() }
                });
                Some(reply(done, outcome))
            }
            Command::Compact(at, done) => {
                let outcome = self.state.decide_compact(at).map(|change| self.take(vec![change], changes));
                Some(reply(done, outcome))
            }
            Command::Grant(ttl, done) => {
                let (id, change) = self.state.decide_grant(ttl);
                self.take(vec![change], changes);
                self.deadlines.set(id, self.origin.elapsed().saturating_add(ttl));
                Some(reply(done, Ok(id)))
            }
            Command::KeepAlive(id, done) => {
                let ttl = self.state.leases().get(&id).map(|lease| lease.ttl).ok_or(Error::LeaseGone);
                if let Ok(ttl) = ttl {
                    self.deadlines.set(id, self.origin.elapsed().saturating_add(ttl));
                }
                Some(reply(done, ttl))
            }
            Command::Revoke(id, done) => {
                let outcome = self.state.decide_end(id).map(|ended| self.take(ended, changes));
                self.deadlines.remove(id);
                Some(reply(done, outcome))
            }
            Command::Close => None,
        }
    }

    fn take(&mut self, decided: Vec<Change>, changes: &mut Vec<Change>) {
        decided.iter().for_each(|change| self.state.apply(change));
        changes.extend(decided);
    }
}

fn reply<T: Send + 'static>(done: Done<T>, outcome: Result<T>) -> Reply {
    // A caller that has gone does not want its answer.
    Box::new(move |written| drop(done.send(written.and(outcome))))
}
