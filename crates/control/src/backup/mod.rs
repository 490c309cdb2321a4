//! Backups of a cluster's keys, and their restore into any store.
//!
//! A backup is what one revision held, without what ends by itself (leases) or is written anew all the time (beacons).
//! A restore raises the epoch, so that no plan of before can be newer than one of after, and keeps the identity of the
//! data, so that nodes know their cluster again.

mod file;
mod restore;

use meridian_host::WallClock;
use meridian_proto::store::v1 as stored;
use meridian_store::Store;

pub use file::FileError;
pub use restore::{RestoreError, Restored, restore};

use crate::store::document::{self, FORM};
use crate::store::{Key, Layout};

/// Takes a backup of `cluster`: the bytes of the file, and how many keys it holds.
///
/// # Errors
/// The store cannot be read.
pub async fn take(
    store: &dyn Store,
    cluster: &str,
    clock: &dyn WallClock,
) -> Result<(Vec<u8>, usize), meridian_store::Error> {
    let layout = Layout::new(cluster);
    let listing = store.list(layout.prefix()).await?;
    let mut cluster_id = store.cluster_id().await?;
    let mut entries = Vec::new();
    for entry in listing.entries {
        let Some(key) = entry.key.strip_prefix(layout.prefix()) else { continue };
        let parsed = layout.parse(&entry.key);
        if parsed == Some(Key::Epoch)
            && let Ok(epoch) = document::read::<stored::Epoch>(&entry.value)
            && epoch.cluster_id != 0
        {
            cluster_id = epoch.cluster_id;
        }
        if entry.lease.is_none() && !matches!(parsed, Some(Key::Beacon(_))) {
            entries.push(stored::BackupEntry { key: key.to_owned(), value: entry.value });
        }
    }
    let backup = stored::Backup {
        form: FORM,
        cluster: cluster.to_owned(),
        cluster_id,
        revision: listing.revision.0,
        taken_at_unix_ms: clock.now_unix_ms(),
        entries,
    };
    Ok((file::encode(&backup), backup.entries.len()))
}
