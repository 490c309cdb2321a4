//! The conformance battery: what every backend must do, whatever it is made of.
//!
//! A backend's test file implements [`Harness`] and calls [`battery!`](crate::battery!), which makes one test of every
//! case. Cases share nothing and each uses prefixes of its own.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code, behind a feature")]

mod leases;
mod reads;
mod restarts;
mod sizes;
mod txns;
mod watches;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use leases::*;
pub use reads::*;
pub use restarts::*;
pub use sizes::*;
pub use txns::*;
pub use watches::*;

use crate::{Batch, Entry, Event, Revision, Store, Txn, Watch};

/// Longest wait for anything that must happen: far more than a healthy backend needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A backend under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The store: one handle, which works again after a restart.
    fn store(&self) -> Arc<dyn Store>;

    /// Takes the backend away and brings it back with the same data; every watch is lost.
    async fn restart(&mut self);
}

/// Hands the names of all cases to a macro, behind what is given for it: `battery_cases!([my_macro] first tokens)`.
#[macro_export]
macro_rules! battery_cases {
    ([$($taker:tt)+] $($first:tt)*) => {
        $($taker)+! {
            $($first)*
            lists_sorted_entries_with_their_revision
            counts_creation_writes_and_versions
            isolates_prefixes
            creates_only_what_is_absent
            refuses_a_lost_update
            fences_by_create_revision
            applies_a_transaction_whole_and_under_one_revision
            does_not_move_when_nothing_changes
            refuses_transactions_that_make_no_sense
            lets_one_of_many_concurrent_writers_win_each_step
            replays_from_a_past_revision
            waits_for_a_future_revision
            watches_without_gap_or_repeat_under_concurrent_writers
            delivers_only_the_watched_prefix
            refuses_to_watch_from_before_a_compaction
            is_not_held_up_by_a_watcher_that_does_not_read
            ends_a_lease_that_nobody_renews_and_deletes_its_keys
            keeps_a_lease_that_is_renewed
            revokes_a_lease_at_once
            keeps_a_key_that_left_its_lease
            keeps_data_identity_and_history_over_a_restart
            keeps_a_lease_over_a_restart
            lets_a_follower_converge_over_restart_and_compaction
            stores_the_largest_value
            lists_many_keys_as_of_one_revision
        }
    };
}

/// Makes a test of every case of the battery.
///
/// `make` is an async function without arguments that returns a [`Harness`](crate::battery::Harness); the attribute is
/// the one to put on each test.
#[macro_export]
macro_rules! battery {
    ($make:path, #[$attr:meta]) => {
        $crate::battery_cases!([$crate::battery] @cases $make, #[$attr]);
    };
    (@cases $make:path, #[$attr:meta] $($case:ident)*) => {
        $(
            #[$attr]
            async fn $case() {
                let mut harness = $make().await;
                $crate::battery::$case(&mut harness).await;
            }
        )*
    };
}

/// The output of `future`, which must come.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing within {PATIENCE:?}"),
    }
}

/// Puts one key and returns the revision.
async fn put(store: &dyn Store, key: &str, value: impl Into<bytes::Bytes>) -> Revision {
    let outcome = store.txn(Txn::new().put(key, value)).await.unwrap();
    assert!(outcome.succeeded);
    outcome.revision
}

async fn delete(store: &dyn Store, key: &str) -> Revision {
    store.txn(Txn::new().delete(key)).await.unwrap().revision
}

async fn entry(store: &dyn Store, key: &str) -> Entry {
    store.get(key).await.unwrap().unwrap()
}

async fn receive(watch: &mut Watch) -> Batch {
    soon("next batch of a watch", watch.recv()).await.unwrap()
}

/// Events as text: `+key=value` and `-key`.
fn text(batch: &Batch) -> Vec<String> {
    let one = |event: &Event| match event {
        Event::Put(e) => format!("+{}={}", e.key, String::from_utf8_lossy(&e.value)),
        Event::Delete { key, .. } => format!("-{key}"),
    };
    batch.events.iter().map(one).collect()
}
