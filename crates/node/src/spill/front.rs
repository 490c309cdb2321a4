//! What other nodes meet here: their clients' requests are served as our own would be, and never handed on.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use meridian_ingress::{Audience, Call, ModelCard, Refused, Reply, Status, Surface};
use meridian_types::ErrorCode;
use tokio::sync::watch;

use crate::caller::Origin;
use crate::node::Node;
use crate::stack;

/// The surface of the listener for other nodes.
pub(crate) struct PeerFront(pub(crate) Arc<Node>);

#[async_trait]
impl Surface for PeerFront {
    async fn ask(&self, call: Call) -> Reply {
        let to = Audience { dialect: call.endpoint.dialect(), id: call.id.clone() };
        stack::serve(&self.0, call, &to, Origin::Peer).await.unwrap_or_else(|refused| refused.into_reply(&to))
    }

    fn models(&self, _: &HeaderMap) -> Result<Vec<ModelCard>, Refused> {
        Err(Refused::new(ErrorCode::NotFound, "there is no such path"))
    }

    fn is_leaving(&self) -> bool {
        self.0.shutdown.is_draining()
    }

    /// Never: other nodes follow the plan themselves, and those that hand over to a drained region all the same are served.
    fn drained(&self) -> watch::Receiver<bool> {
        watch::Sender::new(false).subscribe()
    }
}

/// Nobody asks here: machines ask at the listener for clients.
impl Status for PeerFront {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self) -> String {
        String::new()
    }
}
