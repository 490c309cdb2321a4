//! The conformance battery on the memory and the embedded store.

#![expect(clippy::unwrap_used, reason = "test set-up outside of test functions")]

use std::sync::Arc;

use async_trait::async_trait;
use meridian_store::Store;
use meridian_store::battery::Harness;
use meridian_store::memory::MemoryStore;

mod reopened;

struct Memory(MemoryStore);

#[async_trait]
impl Harness for Memory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn restart(&mut self) {
        self.0.set_available(false);
        self.0.set_available(true);
    }
}

async fn memory() -> Memory {
    Memory(MemoryStore::new(7))
}

mod on_memory {
    meridian_store::battery!(super::memory, #[tokio::test(start_paused = true)]);
}

mod on_embedded {
    meridian_store::battery!(super::reopened::embedded, #[tokio::test(flavor = "multi_thread", worker_threads = 2)]);
}
