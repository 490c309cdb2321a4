//! The store that a control replica, a backup or a restore works on: flags that have to fit together.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use meridian_host::Host;
use meridian_store::Store;
use meridian_store::embedded::EmbeddedStore;
use meridian_store_etcd::{EtcdOptions, EtcdStore};

use crate::failure::Usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// A file of this process: one replica, no other process needed.
    Embedded,
    /// An etcd cluster, which all replicas share.
    Etcd,
}

/// Where a cluster's data lies.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Where configuration and plans are kept.
    #[arg(long, value_enum, default_value = "embedded")]
    store: StoreKind,
    /// Directory of the embedded store.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Client URLs of etcd's members.
    #[arg(long, value_name = "URL,...", value_delimiter = ',')]
    etcd_endpoints: Vec<String>,
    /// Authority of etcd's members.
    #[arg(long, value_name = "FILE")]
    etcd_ca: Option<PathBuf>,
    /// Our certificate for etcd.
    #[arg(long, value_name = "FILE")]
    etcd_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE")]
    etcd_key: Option<PathBuf>,
    /// Name of the cluster: one store can hold several.
    #[arg(long, default_value = "meridian")]
    pub(crate) cluster: String,
}

/// Which store, from flags that fit together.
#[derive(Debug)]
pub(crate) enum Place {
    Embedded(PathBuf),
    Etcd(EtcdOptions),
}

impl Place {
    /// Opens it; an embedded one has to be closed again.
    pub(crate) async fn open(self, host: &Host) -> anyhow::Result<(Arc<dyn Store>, Option<EmbeddedStore>)> {
        match self {
            Self::Embedded(dir) => {
                let opened = EmbeddedStore::open(&dir, host.entropy.next_u64()).await;
                let store = opened.with_context(|| format!("open the store in {}", dir.display()))?;
                Ok((Arc::new(store.clone()), Some(store)))
            }
            Self::Etcd(options) => {
                let store = EtcdStore::connect_over(options, host.net.clone()).await;
                Ok((Arc::new(store.context("use the etcd store")?), None))
            }
        }
    }
}

impl StoreArgs {
    /// The store that the flags mean.
    pub(crate) fn place(&self) -> Result<Place, Usage> {
        let wrong = |text: &str| Err(Usage(text.to_owned()));
        let has_etcd = !self.etcd_endpoints.is_empty()
            || self.etcd_ca.is_some()
            || self.etcd_cert.is_some()
            || self.etcd_key.is_some();
        match (self.store, &self.data_dir) {
            (StoreKind::Embedded, _) if has_etcd => wrong("--etcd-... flags need --store etcd"),
            (StoreKind::Embedded, Some(dir)) => Ok(Place::Embedded(dir.clone())),
            (StoreKind::Embedded, None) => wrong("--store embedded needs --data-dir"),
            (StoreKind::Etcd, Some(_)) => wrong("--data-dir is for --store embedded; etcd keeps everything"),
            (StoreKind::Etcd, None) if self.etcd_endpoints.is_empty() => wrong("--store etcd needs --etcd-endpoints"),
            (StoreKind::Etcd, None) => {
                let mut options = EtcdOptions::new(self.etcd_endpoints.clone());
                options.ca_file.clone_from(&self.etcd_ca);
                options.cert_file.clone_from(&self.etcd_cert);
                options.key_file.clone_from(&self.etcd_key);
                Ok(Place::Etcd(options))
            }
        }
    }
}
