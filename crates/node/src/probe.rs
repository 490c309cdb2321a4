//! Probes the other nodes through their public listeners: what a client there would meet.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use meridian_control_client::Peer;
use meridian_host::jitter;
use meridian_upstream::Prober;
use tokio::task::JoinSet;

use crate::node::Node;

/// Two misses in a row are noticed within about a second.
const INTERVAL: Duration = Duration::from_millis(500);

/// While a peer was lost of late: what decides about it is gathered within a few of these.
const HURRIED: Duration = Duration::from_millis(150);

/// Spread of the interval, so that nodes do not fall into step.
const SPREAD: Duration = Duration::from_millis(100);

/// Above the longest round trips between continents (about 300 ms with a new connection's handshake counted once).
const DEADLINE: Duration = Duration::from_millis(400);

/// Peers probed at once; the control plane names fewer.
const MAX_PEERS: usize = 256;

/// Probes every peer of the list, for ever.
pub(crate) async fn run(node: Arc<Node>, scheme: Scheme) {
    let prober = node.transport.prober(DEADLINE);
    let mut list = node.peers.subscribe();
    loop {
        let peers = list.borrow_and_update().clone();
        // Dropping the set ends the probes of the old list.
        let mut probes = JoinSet::new();
        for peer in peers.iter().take(MAX_PEERS) {
            probes.spawn(probe(Arc::clone(&node), prober.clone(), scheme.clone(), peer.clone()));
        }
        if list.changed().await.is_err() {
            return;
        }
    }
}

async fn probe(node: Arc<Node>, prober: Prober, scheme: Scheme, peer: Peer) {
    let url: Result<Uri, _> = format!("{scheme}://{}/healthz", peer.address).parse();
    loop {
        let outcome = match &url {
            Ok(url) => match prober.get(url.clone()).await {
                Ok((status, seen)) if status.is_success() => Ok(seen),
                Ok((status, _)) => Err(format!("answered {}", status.as_u16())),
                Err(why) => Err(why),
            },
            Err(_) => Err("its address is none".to_owned()),
        };
        node.peers.record(&peer, outcome);
        let entropy = node.host.entropy.as_ref();
        node.peers.rest(INTERVAL - SPREAD / 2 + jitter(entropy, SPREAD), HURRIED).await;
    }
}
