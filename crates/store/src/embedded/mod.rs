//! The embedded store: one process, one redb file, the same promises as etcd's.
//!
//! One named thread owns the file. It takes writes in batches, commits each batch durably (about 1 ms), and only then
//! shows them to readers, who never touch the disk. History is kept on disk too, so a watch can begin at a revision
//! from before a restart. Leases do not remember how long the process was away: after a start each has its full time
//! again, so that a restart never expires what its holders could not renew.

mod disk;
mod record;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use tokio::sync::{mpsc, oneshot, watch};

use self::writer::{Command, Done, Opened};
use crate::local::{Cursor, Shared};
use crate::txn::check_key;
use crate::{Batch, Entry, Error, LeaseId, Listing, Result, Revision, Store, Txn, TxnOutcome, Watch};

/// How long a write may wait for the disk. A healthy one takes milliseconds; after this its outcome is unknown.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many writes may wait for the writer; further callers wait in turn, within [`WRITE_TIMEOUT`].
const QUEUE: usize = 256;

/// A store in a file of this process. Clones share one store; the file is free again after [`EmbeddedStore::close`].
#[derive(Clone)]
pub struct EmbeddedStore {
    cluster_id: u64,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    /// Closed when the writer has let go of the file.
    stopped: watch::Receiver<()>,
}

impl EmbeddedStore {
    /// Opens the store in directory `dir`, or makes it (directory mode 0700). A new store takes `new_cluster_id` as its
    /// identity; give it a random number.
    ///
    /// # Errors
    /// [`Error::InUse`] when any process has it open, [`Error::Corrupt`] when its content cannot be read (also when a
    /// later version wrote it), [`Error::Unavailable`] when the directory or file cannot be opened.
    pub async fn open(dir: &Path, new_cluster_id: u64) -> Result<Self> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (stop, stopped) = watch::channel(());
        let Opened { cluster_id, shared } = writer::start(dir, new_cluster_id, queue, stop).await?;
        Ok(Self { cluster_id, shared, commands, stopped })
    }

    /// Stops the writer after what is queued, and waits until the file is closed. Other clones then fail as
    /// unavailable.
    pub async fn close(self) {
        // A failed send means that the writer has stopped already.
        let _ = self.commands.send(Command::Close).await;
        self.wait_stopped().await;
    }

    async fn wait_stopped(&self) {
        let mut stopped = self.stopped.clone();
        while stopped.changed().await.is_ok() {}
    }

    /// Fails once the writer is gone: readers must not go on with a state that can no longer change.
    fn check_open(&self) -> Result<()> {
        match self.stopped.has_changed() {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::unavailable("the embedded store is closed")),
        }
    }

    /// Sends a command and waits for what became of it.
    async fn write<T>(&self, command: impl FnOnce(Done<T>) -> Command) -> Result<T> {
        let (done, outcome) = oneshot::channel();
        let command = command(done);
        let wait = async {
            if self.commands.send(command).await.is_err() {
                return Err(Error::unavailable("the embedded store is closed"));
            }
            let lost = |e| Error::OutcomeUnknown { reason: "the writer stopped".to_owned(), source: Some(Box::new(e)) };
            outcome.await.unwrap_or_else(|e| Err(lost(e)))
        };
        tokio::time::timeout(WRITE_TIMEOUT, wait).await.unwrap_or_else(|elapsed| {
            Err(Error::OutcomeUnknown {
                reason: format!("no answer from the disk within {WRITE_TIMEOUT:?}"),
                source: Some(Box::new(elapsed)),
            })
        })
    }

    /// The next item of a watch, and the cursor if there may be more.
    async fn next(self, mut cursor: Cursor) -> Option<(Result<Batch>, (Self, Cursor))> {
        loop {
            let mut moved = self.shared.subscribe();
            let found = cursor.advance(&self.shared.lock());
            match found {
                Ok(Some(batch)) => return Some((Ok(batch), (self, cursor))),
                Ok(None) => {}
                Err(error) => return Some((Err(error), (self, cursor))),
            }
            tokio::select! {
                biased;
                _ = moved.changed() => {}
                () = self.wait_stopped() => {
                    return Some((Err(Error::watch_lost("the embedded store is closed")), (self, cursor)));
                }
            }
        }
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn cluster_id(&self) -> Result<u64> {
        self.check_open()?;
        Ok(self.cluster_id)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        check_key(key)?;
        self.check_open()?;
        Ok(self.shared.lock().get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        self.check_open()?;
        Ok(self.shared.lock().list(prefix))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        txn.check()?;
        self.write(|done| Command::Txn(txn, done)).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        let cursor = Cursor::new(prefix, from)?;
        self.check_open()?;
        // The watch must not keep the writer alive: it holds no sender that works.
        let (unused, _) = mpsc::channel(1);
        let reader = Self { commands: unused, ..self.clone() };
        Ok(Watch::new(stream::unfold((reader, cursor), |(reader, cursor)| reader.next(cursor))))
    }

    async fn compact(&self, at: Revision) -> Result<()> {
        self.write(|done| Command::Compact(at, done)).await
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        if ttl.is_zero() {
            return Err(Error::invalid("lease of no length"));
        }
        self.write(|done| Command::Grant(ttl, done)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.write(|done| Command::KeepAlive(lease, done)).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.write(|done| Command::Revoke(lease, done)).await
    }
}
