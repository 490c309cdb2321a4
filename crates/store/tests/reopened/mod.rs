//! An embedded store that can be closed and opened again under one handle.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use meridian_store::battery::Harness;
use meridian_store::embedded::EmbeddedStore;
use meridian_store::{Entry, LeaseId, Listing, Result, Revision, Store, Txn, TxnOutcome, Watch};
use tempfile::TempDir;

pub(crate) struct Embedded {
    dir: TempDir,
    store: Arc<Reopened>,
}

pub(crate) async fn embedded() -> Embedded {
    let dir = TempDir::new().unwrap();
    let store = open(&dir).await;
    Embedded { dir, store: Arc::new(Reopened(Mutex::new(store))) }
}

async fn open(dir: &TempDir) -> EmbeddedStore {
    let path: PathBuf = dir.path().join("data");
    EmbeddedStore::open(&path, 11).await.unwrap()
}

#[async_trait]
impl Harness for Embedded {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn restart(&mut self) {
        self.store.now().close().await;
        let opened = open(&self.dir).await;
        *self.store.0.lock().unwrap() = opened;
    }
}

/// Passes every call to the store that is open now.
struct Reopened(Mutex<EmbeddedStore>);

impl Reopened {
    fn now(&self) -> EmbeddedStore {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Store for Reopened {
    async fn cluster_id(&self) -> Result<u64> {
        self.now().cluster_id().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.now().get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing> {
        self.now().list(prefix).await
    }
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.now().txn(txn).await
    }
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        self.now().watch(prefix, from).await
    }
    async fn compact(&self, at: Revision) -> Result<()> {
        self.now().compact(at).await
    }
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        self.now().grant_lease(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.now().keep_alive(lease).await
    }
    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.now().revoke_lease(lease).await
    }
}
