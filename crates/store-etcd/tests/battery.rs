//! The conformance battery on a real etcd; "restart" is a kill -9 and a new start on the same ports.

#![expect(clippy::unwrap_used, reason = "test set-up outside of test functions")]

use std::sync::Arc;

use async_trait::async_trait;
use meridian_store::Store;
use meridian_store::battery::Harness;
use meridian_store_etcd::testing::EtcdProcess;
use meridian_store_etcd::{EtcdOptions, EtcdStore};

struct Etcd {
    process: EtcdProcess,
    store: Arc<EtcdStore>,
}

#[async_trait]
impl Harness for Etcd {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn restart(&mut self) {
        self.process.restart().await;
    }
}

async fn etcd() -> Etcd {
    let process = EtcdProcess::start().await;
    let store = EtcdStore::connect(EtcdOptions::new([process.endpoint()])).await.unwrap();
    Etcd { process, store: Arc::new(store) }
}

meridian_store::battery!(etcd, #[tokio::test(flavor = "multi_thread", worker_threads = 2)]);
