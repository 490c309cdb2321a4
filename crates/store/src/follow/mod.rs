//! Follows a prefix of a store: the one watch loop that everything with a mirror uses.
//!
//! List at R, watch from R + 1, apply only what is newer; when the watch is lost, compacted or silent, list again and
//! hand out the *difference*: the mirror is never cleared, so readers never see a store that looks empty. Between
//! attempts it waits, longer each time and with jitter.
//!
//! Two things end it, because going on would mix two histories: the store now has another identity, or it has gone
//! back to an earlier revision (a restore). Whoever follows must decide what that means.

mod backoff;
mod mirror;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::backoff::Backoff;
use self::mirror::Mirror;
use crate::{Batch, Entry, Error, Revision, Store, Watch};

/// Where the jitter of the waits comes from: numbers from 0 to below 1. Given, so that a simulation owns it.
pub type Jitter = Box<dyn FnMut() -> f64 + Send>;

/// What to follow and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Every key that starts with it.
    pub prefix: String,
    /// Longest wait before the first new attempt; it doubles with each failure.
    pub backoff_min: Duration,
    /// Longest wait ever. The wait is drawn evenly from 0 to the bound ("full jitter").
    pub backoff_max: Duration,
    /// If nothing changed for this long the watch counts as dead, and the prefix is listed again. Only for prefixes
    /// in which something is known to change more often, such as a beacon key.
    pub silence: Option<Duration>,
    /// How often the mirror is compared with the keys of the store, because a watch can lose changes without a word
    /// (etcd did, after compactions, before 3.4.31). What was lost is then listed, as after any lost watch.
    pub audit: Option<Duration>,
}

impl Options {
    /// Follows `prefix` with waits of up to 0.1 s, doubling to 30 s, no bound on silence and no audits.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            silence: None,
            audit: None,
        }
    }
}

/// What changed since the change before. Apply deletes and upserts together: they belong to one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Entries that are new or were written.
    pub upserts: Vec<Entry>,
    /// Keys that are gone.
    pub deletes: Vec<String>,
    /// The mirror now holds what the store held at this revision.
    pub revision: Revision,
    /// Whether it comes from a list: the first one, or the first after an interruption. It may be empty, and says
    /// that the mirror is up to date again.
    pub resync: bool,
}

/// Why there is no next change.
#[derive(Debug, thiserror::Error)]
pub enum Interruption {
    /// The store could not be reached or the watch broke. The mirror may be stale from now on. Ask for the next
    /// change: the follower waits by itself, lists again, and the next change is a resync.
    #[error("store watch was interrupted")]
    Retrying(#[source] Error),

    /// Following has ended for good: every further call fails the same way.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why a follower does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The store is not the one that was followed before.
    #[error("store has cluster id {found:x} and not {expected:x}")]
    Foreign {
        /// The identity of the store that was followed.
        expected: u64,
        /// The identity of the store that answers now.
        found: u64,
    },

    /// The store is at an earlier revision than before: it was restored from a backup.
    #[error("store went back from revision {seen} to {found}")]
    Rewound {
        /// The revision of the mirror.
        seen: Revision,
        /// The store's own revision.
        found: Revision,
    },
}

/// Follows one prefix. Pull changes from it with [`Follower::next`]; a slow puller holds up nobody else.
pub struct Follower {
    store: Arc<dyn Store>,
    options: Options,
    mirror: Mirror,
    cluster_id: Option<u64>,
    watch: Option<Watch>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    /// When the last list succeeded.
    synced_at: Option<Instant>,
    audit_at: Option<Instant>,
    ended: Option<Ended>,
}

impl Follower {
    /// Follows the store that answers first, whichever it is.
    pub fn new(store: Arc<dyn Store>, options: Options, jitter: Jitter) -> Self {
        let backoff = Backoff::new(options.backoff_min, options.backoff_max, jitter);
        Self {
            store,
            options,
            mirror: Mirror::default(),
            cluster_id: None,
            watch: None,
            backoff,
            retry_at: None,
            synced_at: None,
            audit_at: None,
            ended: None,
        }
    }

    /// Refuses, from the start, any store but the one with this identity.
    #[must_use]
    pub fn expect_cluster(mut self, cluster_id: u64) -> Self {
        self.cluster_id = Some(cluster_id);
        self
    }

    /// The revision that the mirror stands at; 0 before the first change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.mirror.revision()
    }

    /// The next change, in order; the first is the whole prefix, as a resync. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`Interruption::Retrying`]: call again. [`Interruption::Ended`]: do not.
    pub async fn next(&mut self) -> Result<Change, Interruption> {
        if let Some(ended) = self.ended {
            return Err(ended.into());
        }
        loop {
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at).await;
                self.retry_at = None;
            }
            let Some(watch) = &mut self.watch else {
                return match self.resync().await {
                    Ok(change) => Ok(change),
                    Err(interruption) => Err(self.interrupted(interruption)),
                };
            };
            let received = tokio::select! {
                received = receive(watch, self.options.silence) => received,
                () = until(self.audit_at) => match self.audit().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match received {
                Ok(batch) => {
                    // Only a watch that delivers resets the waits: one that breaks right after each list must not
                    // make the follower list in a tight loop.
                    self.backoff.reset();
                    // A batch that was seen before is dropped: some servers repeat themselves after they move a watch.
                    if let Some(change) = self.mirror.apply(batch) {
                        return Ok(change);
                    }
                }
                Err(error) => return Err(self.interrupted(Interruption::Retrying(error))),
            }
        }
    }

    fn interrupted(&mut self, interruption: Interruption) -> Interruption {
        self.watch = None;
        if self.synced_at.take().is_some_and(|at| at.elapsed() >= self.options.backoff_max) {
            self.backoff.reset();
        }
        self.retry_at = Some(Instant::now() + self.backoff.next());
        if let Interruption::Ended(ended) = interruption {
            self.ended = Some(ended);
        }
        interruption
    }

    /// Lists, starts the watch right after, and takes the difference. The mirror moves only when all of it succeeded.
    async fn resync(&mut self) -> Result<Change, Interruption> {
        let found = self.store.cluster_id().await.map_err(Interruption::Retrying)?;
        let expected = *self.cluster_id.get_or_insert(found);
        if expected != found {
            return Err(Ended::Foreign { expected, found }.into());
        }
        let listing = self.store.list(&self.options.prefix).await.map_err(Interruption::Retrying)?;
        let seen = self.mirror.revision();
        if listing.revision < seen {
            return Err(Ended::Rewound { seen, found: listing.revision }.into());
        }
        let watch = self.store.watch(&self.options.prefix, listing.revision.next()).await;
        self.watch = Some(watch.map_err(Interruption::Retrying)?);
        self.synced_at = Some(Instant::now());
        self.audit_at = self.options.audit.map(|period| Instant::now() + period);
        Ok(self.mirror.replace(listing))
    }

    /// Looks whether the watch has lost anything. A list that fails says nothing about that: the next audit will.
    async fn audit(&mut self) -> Result<(), Error> {
        let listed = self.store.list_keys(&self.options.prefix).await;
        self.audit_at = self.options.audit.map(|period| Instant::now() + period);
        match listed {
            Ok(listing) => match self.mirror.lost(&listing) {
                0 => Ok(()),
                lost => Err(Error::watch_lost(format!("it has lost {lost} changes without a word"))),
            },
            Err(_) => Ok(()),
        }
    }
}

/// The moment, or never.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The next batch within the bound on silence.
async fn receive(watch: &mut Watch, silence: Option<Duration>) -> Result<Batch, Error> {
    match silence {
        None => watch.recv().await,
        Some(bound) => match tokio::time::timeout(bound, watch.recv()).await {
            Ok(received) => received,
            Err(_) => Err(Error::watch_lost(format!("nothing changed for {bound:?}"))),
        },
    }
}

#[cfg(test)]
mod tests;
