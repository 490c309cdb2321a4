//! The redb file: its tables, how changes are written to it, and how a state is read back.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::record;
use crate::state::{Change, State};
use crate::{Batch, Entry, Error, Event, LeaseId, Result, Revision};

/// The file in the store's directory.
const FILE: &str = "store.redb";

/// The layout below. A file of another number is refused.
const FORMAT: u64 = 1;

/// Directory mode: values may hold digests of keys, and configuration is nobody else's business.
const DIR_MODE: u32 = 0o700;
/// The same for the file, whose directory may be an older and more open one.
const FILE_MODE: u32 = 0o600;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
/// History by revision.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Lease to its time to live, in milliseconds.
const LEASES: TableDefinition<'_, i64, u64> = TableDefinition::new("leases");

const META_FORMAT: &str = "format";
const META_CLUSTER_ID: &str = "cluster_id";
const META_REVISION: &str = "revision";
const META_COMPACTED: &str = "compacted";
const META_LAST_LEASE: &str = "last_lease";

/// The open file. redb locks it against other processes, and against a second open in this one.
pub(super) struct Disk {
    database: Database,
}

impl Disk {
    /// Opens the file, or makes it with a first, empty state.
    pub(super) fn open(dir: &Path, new_cluster_id: u64) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(|e| Error::Unavailable {
            reason: format!("cannot make directory {}", dir.display()),
            source: Some(Box::new(e)),
        })?;
        let file = dir.join(FILE);
        // redb would make it readable for everybody; it takes an empty file for a new one.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&file);
        made.map_err(|e| Error::Unavailable {
            reason: format!("cannot open {}", file.display()),
            source: Some(Box::new(e)),
        })?;
        let database = Database::create(&file).map_err(|e| match e {
            DatabaseError::DatabaseAlreadyOpen => Error::InUse { path: file.display().to_string() },
            e => Error::Unavailable { reason: format!("cannot open {}", file.display()), source: Some(Box::new(e)) },
        })?;
        let disk = Self { database };
        disk.prepare(new_cluster_id)?;
        Ok(disk)
    }

    /// Writes the first state into a new file, and checks the format of an old one.
    fn prepare(&self, new_cluster_id: u64) -> Result<()> {
        let write = self.database.begin_write().map_err(corrupt)?;
        {
            let mut meta = write.open_table(META).map_err(corrupt)?;
            let format = meta.get(META_FORMAT).map_err(corrupt)?.map(|guard| guard.value());
            match format {
                // The transaction is given up when it is dropped.
                Some(FORMAT) => return Ok(()),
                Some(other) => {
                    let reason =
                        format!("format {other} of the store's file is not {FORMAT}: another version wrote it");
                    return Err(Error::Corrupt { reason, source: None });
                }
                None => {}
            }
            meta.insert(META_FORMAT, FORMAT).map_err(corrupt)?;
            meta.insert(META_CLUSTER_ID, new_cluster_id).map_err(corrupt)?;
        }
        write.open_table(ENTRIES).map_err(corrupt)?;
        write.open_table(LOG).map_err(corrupt)?;
        write.open_table(LEASES).map_err(corrupt)?;
        write_meta(&write, &State::new())?;
        write.commit().map_err(corrupt)
    }

    /// The cluster id and the whole state.
    pub(super) fn load(&self) -> Result<(u64, State)> {
        let read = self.database.begin_read().map_err(corrupt)?;
        let meta = read.open_table(META).map_err(corrupt)?;
        let number = |name: &str| match meta.get(name).map_err(corrupt)? {
            Some(guard) => Ok(guard.value()),
            None => Err(Error::Corrupt { reason: format!("the store's file lacks its {name}"), source: None }),
        };
        let mut entries: Vec<Entry> = Vec::new();
        for row in read.open_table(ENTRIES).map_err(corrupt)?.iter().map_err(corrupt)? {
            let (_, value) = row.map_err(corrupt)?;
            entries.push(record::read_entry(value.value())?);
        }
        let mut leases = Vec::new();
        for row in read.open_table(LEASES).map_err(corrupt)?.iter().map_err(corrupt)? {
            let (id, ttl_ms) = row.map_err(corrupt)?;
            leases.push((LeaseId(id.value()), Duration::from_millis(ttl_ms.value())));
        }
        let mut history: Vec<Batch> = Vec::new();
        for row in read.open_table(LOG).map_err(corrupt)?.iter().map_err(corrupt)? {
            let (revision, value) = row.map_err(corrupt)?;
            history.push(record::read_batch(Revision(revision.value()), value.value())?);
        }
        let last_lease = LeaseId(number(META_LAST_LEASE)?.cast_signed());
        let compacted = Revision(number(META_COMPACTED)?);
        let revision = Revision(number(META_REVISION)?);
        let state = State::restore(revision, entries, leases, last_lease, compacted, history);
        Ok((number(META_CLUSTER_ID)?, state))
    }

    /// Commits `changes`, durably; `state` is the one that they lead to.
    pub(super) fn write(&self, changes: &[Change], state: &State) -> Result<()> {
        let write = self.database.begin_write().map_err(corrupt)?;
        {
            let mut entries = write.open_table(ENTRIES).map_err(corrupt)?;
            let mut log = write.open_table(LOG).map_err(corrupt)?;
            let mut leases = write.open_table(LEASES).map_err(corrupt)?;
            for change in changes {
                match change {
                    Change::Write(batch) => {
                        for event in &batch.events {
                            match event {
                                Event::Put(entry) => {
                                    let bytes = record::write_entry(entry);
                                    entries.insert(entry.key.as_str(), bytes.as_slice()).map_err(corrupt)?;
                                }
                                Event::Delete { key, .. } => {
                                    entries.remove(key.as_str()).map_err(corrupt)?;
                                }
                            }
                        }
                        log.insert(batch.revision.0, record::write_batch(batch).as_slice()).map_err(corrupt)?;
                    }
                    Change::Grant(id, ttl) => {
                        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                        leases.insert(id.0, ttl_ms).map_err(corrupt)?;
                    }
                    Change::End(id) => {
                        leases.remove(id.0).map_err(corrupt)?;
                    }
                    // The history that `state` no longer has, by this or by its limits, goes below.
                    Change::Compact(_) => {}
                }
            }
            log.retain_in(..state.compacted().0, |_, _| false).map_err(corrupt)?;
        }
        write_meta(&write, state)?;
        write.commit().map_err(corrupt)
    }
}

fn write_meta(write: &WriteTransaction, state: &State) -> Result<()> {
    let mut meta = write.open_table(META).map_err(corrupt)?;
    meta.insert(META_REVISION, state.revision().0).map_err(corrupt)?;
    meta.insert(META_COMPACTED, state.compacted().0).map_err(corrupt)?;
    meta.insert(META_LAST_LEASE, state.last_lease().0.cast_unsigned()).map_err(corrupt)?;
    Ok(())
}

/// redb has an error type for each step; all of them mean that the file cannot be used.
fn corrupt(error: impl Into<redb::Error>) -> Error {
    Error::Corrupt {
        reason: "the store's file cannot be read or written".to_owned(),
        source: Some(Box::new(error.into())),
    }
}
