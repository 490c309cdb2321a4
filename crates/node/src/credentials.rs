//! Follows the providers' credentials: files are read again, and what is missing is told once.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_types::ProviderName;
use meridian_upstream::{CREDENTIAL_INTERVAL, CredentialError};

use crate::node::Node;
use crate::snapshot::Snapshot;

/// What has been told of each provider's credential.
type Told = BTreeMap<ProviderName, CredentialError>;

/// Looks at every credential as soon as a configuration is applied, and then every [`CREDENTIAL_INTERVAL`], for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut told = Told::new();
    loop {
        if let Some(snapshot) = node.snapshot.load_full() {
            round(&node, &snapshot, &mut told).await;
        }
        tokio::select! {
            () = node.applied.notified() => {}
            () = tokio::time::sleep(CREDENTIAL_INTERVAL) => {}
        }
    }
}

async fn round(node: &Node, snapshot: &Snapshot, told: &mut Told) {
    told.retain(|name, _| snapshot.providers.contains_key(name));
    for (name, account) in &snapshot.providers {
        let changed = account.upstream.refresh_credential().await;
        if changed {
            account.credential_changed();
        }
        match account.upstream.credential() {
            Ok(()) => {
                told.remove(name);
                if changed {
                    tracing::info!(provider = %name, "credential read anew");
                }
            }
            Err(error) if told.get(name) == Some(&error) => {}
            Err(error) => {
                let node = &node.name;
                tracing::warn!(%node, provider = %name, %error, "the provider cannot be called: its credential is not available");
                told.insert(name.clone(), error);
            }
        }
    }
}
