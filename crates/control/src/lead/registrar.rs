//! Writes the identity of every node that pulses here into the store, once, and again when it changes.

use std::sync::Arc;
use std::time::Duration;

use meridian_proto::node::v1::Role;
use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Error, Revision, Txn};
use meridian_types::NodeName;

use crate::fleet::Node;
use crate::shared::Shared;
use crate::store::document::{self, FORM};
use crate::view::{Registered, View};

/// After news of the fleet, so that a fleet that starts is not written piecemeal many times.
const GATHER: Duration = Duration::from_millis(50);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Without news, to forget who is gone.
const LOOK: Duration = Duration::from_secs(60);

/// Runs until the drain.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut news = shared.fleet.subscribe();
    loop {
        // First: who is forgotten in the store as well must not come back from memory.
        shared.fleet.forget();
        let wait = match register_all(&shared).await {
            Ok(()) => LOOK,
            Err(error) => {
                tracing::debug!(%error, "nodes could not be registered");
                RETRY
            }
        };
        tokio::select! {
            _ = news.changed() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(wait) => {}
            () = shared.shutdown.draining() => return,
        }
    }
}

async fn register_all(shared: &Shared) -> Result<(), Error> {
    let mut views = shared.mirror.subscribe();
    if views.wait_for(|view| view.is_loaded()).await.is_err() {
        return Ok(());
    }
    for (name, node) in shared.fleet.nodes() {
        let view = shared.mirror.view();
        let Some(txn) = register(shared, &view, &name, &node) else { continue };
        // A compare that fails means that another replica wrote the same, or will see the next change.
        let outcome = shared.store.txn(txn).await?;
        shared.mirror.wait_for(outcome.revision, RETRY).await;
        tracing::info!(node = %name, region = %node.region, "node registered");
    }
    Ok(())
}

/// What has to be written; `None` if the store knows.
fn register(shared: &Shared, view: &View, name: &NodeName, node: &Node) -> Option<Txn> {
    let held: Option<&Registered> = view.nodes.get(name);
    let identity = &node.identity;
    let document = stored::RegisteredNode {
        form: FORM,
        node: name.to_string(),
        region: node.region.to_string(),
        cell: identity.cell.clone(),
        build: identity.build.clone(),
        public_addresses: identity.public_addresses.clone(),
        max_in_flight: identity.max_in_flight,
        first_seen_unix_ms: held.map_or_else(|| shared.now_unix_ms(), |held| held.document.first_seen_unix_ms),
        dns_only: identity.role() == Role::Dns,
        peer_address: identity.peer_address.clone(),
    };
    if held.is_some_and(|held| held.document == document) {
        return None;
    }
    let key = shared.layout.node(node.region.as_str(), name.as_str());
    let same_place = held.filter(|held| held.region == node.region);
    let seen = same_place.map_or(Revision::ZERO, |held| held.revision);
    let mut txn = Txn::new().when(Compare::mod_revision(&key, seen)).put(key, document::write(&document));
    if let Some(held) = held.filter(|held| held.region != node.region) {
        txn = txn.delete(shared.layout.node(held.region.as_str(), name.as_str()));
    }
    Some(txn)
}
