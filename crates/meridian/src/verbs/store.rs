//! `store backup` and `store restore`: on the store itself, with or without control replicas.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use meridian_control::backup::{self, Restored};
use meridian_host::Host;

use crate::format::date;
use crate::output;
use crate::roles::place::{Place, StoreArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
    /// Write everything that the cluster keeps into a file. With etcd the replicas may run meanwhile; an embedded store
    /// must not be in use.
    Backup(BackupArgs),
    /// Put a backup into a store, under a new epoch. No control replica may run; nodes may, and go on serving.
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write; an older one is replaced.
    file: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// A file that `store backup` wrote.
    file: PathBuf,
    /// Replace what the store holds of the cluster.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) async fn run(verb: StoreVerb) -> anyhow::Result<()> {
    let host = Host::real();
    match verb {
        StoreVerb::Backup(args) => take(&host, args).await,
        StoreVerb::Restore(args) => restore(&host, args).await,
    }
}

async fn take(host: &Host, args: BackupArgs) -> anyhow::Result<()> {
    let place = args.store.place()?;
    if let Place::Embedded(dir) = &place
        // To open it would make one.
        && host.files.list(dir).await.unwrap_or_default().is_empty()
    {
        anyhow::bail!("there is no store in {}; nothing was written", dir.display());
    }
    let (store, embedded) = place.open(host).await?;
    let taken = backup::take(&*store, &args.store.cluster, &*host.clock).await;
    if let Some(embedded) = embedded {
        embedded.close().await;
    }
    let (file, keys) = taken.context("read the store")?;
    if keys == 0 {
        anyhow::bail!("the store holds nothing of cluster {}; nothing was written", args.store.cluster);
    }
    let path = args.file.display();
    host.files.replace(&args.file, &file).await.with_context(|| format!("write {path}"))?;
    output::print(&format!("{keys} keys, {} bytes, in {path}\n", file.len()))
}

async fn restore(host: &Host, args: RestoreArgs) -> anyhow::Result<()> {
    let path = args.file.display();
    let file = host.files.read(&args.file).await.with_context(|| format!("read {path}"))?;
    let (store, embedded) = args.store.place()?.open(host).await?;
    let restored = backup::restore(&*store, &args.store.cluster, &file, args.replace).await;
    if let Some(embedded) = embedded {
        embedded.close().await;
    }
    let Restored { keys, removed, epoch, taken_at_unix_ms } = match restored {
        Err(error @ backup::RestoreError::NotEmpty(_)) => return Err(anyhow::anyhow!("{error}: --replace")),
        restored => restored?,
    };
    let taken = date(taken_at_unix_ms);
    output::print(&format!("{keys} keys of {taken} restored, {removed} removed; the store is at epoch {epoch}\n"))
}
