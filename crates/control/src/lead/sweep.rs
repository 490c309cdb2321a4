//! The leader clears away the faults and switches that have ended by their time, so that everyone who watches sees the end.
//! Nodes end them by themselves.

use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Revision, Txn};
use prost::Message;

use crate::shared::Shared;
use crate::store::document;
use crate::view::View;
use crate::{faults, switches};

/// One look at both.
pub(super) async fn run(shared: &Shared, fence: Revision, view: &View) {
    let now = shared.now_unix_ms();
    let left: Vec<_> = faults::holding(&view.faults.faults, now).cloned().collect();
    if left.len() != view.faults.faults.len() {
        let document = stored::Faults { faults: left, made_at_unix_ms: now, ..(*view.faults).clone() };
        put(shared, fence, shared.layout.faults(), view.faults_revision, &document).await;
    }
    let left: Vec<_> = switches::holding(&view.switches.switches, now).cloned().collect();
    if left.len() != view.switches.switches.len() {
        let document = stored::Switches { switches: left, made_at_unix_ms: now, ..(*view.switches).clone() };
        put(shared, fence, shared.layout.switches(), view.switches_revision, &document).await;
    }
}

async fn put(shared: &Shared, fence: Revision, key: String, held: Revision, document: &impl Message) {
    let txn = Txn::new()
        .when(Compare::create_revision(shared.layout.leader(), fence))
        .when(Compare::mod_revision(&key, held))
        .put(key.clone(), document::write(document));
    // The next look tries again.
    if let Err(error) = shared.store.txn(txn).await {
        tracing::debug!(%error, key, "what has ended could not be cleared away");
    }
}
