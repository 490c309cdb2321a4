//! Puts a backup into a store.

use bytes::Bytes;
use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Error, MAX_TXN_BYTES, MAX_TXN_OPS, Revision, Store, Txn};

use super::file::{self, FileError};
use crate::store::Layout;
use crate::store::document::{self, FORM};

/// Of a transaction's limits, what one batch uses: the guard and the epoch go with the first.
const BATCH_OPS: usize = MAX_TXN_OPS - 8;
const BATCH_BYTES: usize = MAX_TXN_BYTES / 2;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Keys written.
    pub keys: usize,
    /// Keys that were there and are in no backup.
    pub removed: usize,
    /// The new epoch.
    pub epoch: u64,
    /// When the backup was taken.
    pub taken_at_unix_ms: i64,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is no backup.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is of another cluster.
    #[error("the backup is of cluster {found:?}, not of {expected:?}")]
    OtherCluster {
        /// The cluster to be restored.
        expected: String,
        /// The backup's.
        found: String,
    },
    /// Control replicas are running on the store.
    #[error(
        "control replicas are running on this store ({0}); stop them first, and wait 10 s for those that were killed"
    )]
    InUse(String),
    /// The store holds the cluster already.
    #[error("the store holds {0} keys of the cluster already; say that they are to be replaced")]
    NotEmpty(usize),
    /// Somebody wrote meanwhile.
    #[error("the store was written meanwhile; nothing more was done, look and repeat the restore")]
    Raced,
    /// The store failed; a restore that was interrupted leaves no head, and can be repeated.
    #[error("the store failed; repeat the restore")]
    Store(#[from] Error),
}

/// Replaces what the store holds of `cluster` by the backup in `file`, under a new epoch. With `replace` unset the
/// store must hold nothing of the cluster. Until the last step there is no head, so that a restore which broke off is
/// never taken for a configuration.
///
/// # Errors
/// [`RestoreError`]; all but the last two are found before anything is written.
pub async fn restore(store: &dyn Store, cluster: &str, file: &[u8], replace: bool) -> Result<Restored, RestoreError> {
    let backup = file::decode(file)?;
    if backup.cluster != cluster {
        return Err(RestoreError::OtherCluster { expected: cluster.to_owned(), found: backup.cluster });
    }
    let layout = Layout::new(cluster);
    let held = store.list(layout.prefix()).await?;
    let running: Vec<&str> =
        held.entries.iter().filter_map(|entry| entry.key.strip_prefix(&layout.replicas())).collect();
    if !running.is_empty() {
        return Err(RestoreError::InUse(running.join(", ")));
    }
    if !held.entries.is_empty() && !replace {
        return Err(RestoreError::NotEmpty(held.entries.len()));
    }
    let epoch_of = |value: &Bytes| document::read::<stored::Epoch>(value).map(|epoch| epoch.restores).ok();
    let here = held.entries.iter().find(|entry| entry.key == layout.epoch());
    let there = backup.entries.iter().find(|entry| entry.key == "epoch");
    let epochs = [here.and_then(|entry| epoch_of(&entry.value)), there.and_then(|entry| epoch_of(&entry.value))];
    let restores = epochs.into_iter().flatten().max().unwrap_or(0).saturating_add(1);
    let epoch = stored::Epoch { form: FORM, restores, cluster_id: backup.cluster_id };

    let is_kept = |key: &str| backup.entries.iter().any(|entry| layout.key(&entry.key) == key);
    let surplus: Vec<String> = held
        .entries
        .iter()
        .map(|entry| entry.key.clone())
        .filter(|key| !is_kept(key) && *key != layout.epoch())
        .collect();
    // First what makes the store unusable for a reader, with a guard against a second restore at the same time.
    let seen = here.map_or(Revision::ZERO, |entry| entry.mod_revision);
    let first = Txn::new()
        .when(Compare::mod_revision(layout.epoch(), seen))
        .put(layout.epoch(), document::write(&epoch))
        .delete(layout.head());
    let guard = store.txn(first).await?;
    if !guard.succeeded {
        return Err(RestoreError::Raced);
    }
    let fence = || Compare::mod_revision(layout.epoch(), guard.revision);
    for keys in surplus.chunks(BATCH_OPS) {
        let txn = keys.iter().fold(Txn::new().when(fence()), |txn, key| txn.delete(key));
        commit(store, txn).await?;
    }
    let is_head = |entry: &&stored::BackupEntry| entry.key == "head";
    let body = backup.entries.iter().filter(|entry| !is_head(entry) && entry.key != "epoch");
    for batch in batches(body) {
        let txn = batch
            .iter()
            .fold(Txn::new().when(fence()), |txn, entry| txn.put(layout.key(&entry.key), entry.value.clone()));
        commit(store, txn).await?;
    }
    if let Some(head) = backup.entries.iter().find(is_head) {
        commit(store, Txn::new().when(fence()).put(layout.head(), head.value.clone())).await?;
    }
    Ok(Restored {
        keys: backup.entries.len(),
        removed: surplus.len(),
        epoch: restores,
        taken_at_unix_ms: backup.taken_at_unix_ms,
    })
}

async fn commit(store: &dyn Store, txn: Txn) -> Result<(), RestoreError> {
    if store.txn(txn).await?.succeeded { Ok(()) } else { Err(RestoreError::Raced) }
}

/// Entries in pieces that one transaction takes.
fn batches<'a>(entries: impl Iterator<Item = &'a stored::BackupEntry>) -> Vec<Vec<&'a stored::BackupEntry>> {
    let mut batches: Vec<Vec<&stored::BackupEntry>> = vec![Vec::new()];
    let mut bytes = 0;
    for entry in entries {
        let size = entry.key.len() + entry.value.len();
        let Some(batch) = batches.last_mut() else { break };
        if batch.is_empty() || (batch.len() < BATCH_OPS && bytes + size <= BATCH_BYTES) {
            batch.push(entry);
            bytes += size;
        } else {
            batches.push(vec![entry]);
            bytes = size;
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}
