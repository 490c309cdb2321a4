//! Where nodes connect.

use std::sync::Arc;

use meridian_lifecycle::{Kind, Tasks};
use meridian_proto::node::v1::node_service_server::NodeService;
use meridian_proto::node::v1::{Beat, BeatReply, SyncRequest, SyncResponse};
use tonic::{Request, Response, Status, Streaming};

use super::outbox::{Outbox, Outgoing};
use super::{pulse, sync};
use crate::access::peer;
use crate::metrics::Lane;
use crate::shared::Shared;

/// Streams that one replica holds. A fleet of a thousand nodes has two each; past this something is wrong, and other
/// replicas have room.
const MAX_STREAMS: i64 = 10_000;

/// The nodes' API.
pub(crate) struct Nodes {
    shared: Arc<Shared>,
    tasks: Tasks,
}

impl Nodes {
    pub(crate) fn new(shared: Arc<Shared>, tasks: Tasks) -> Self {
        Self { shared, tasks }
    }

    fn admit(&self, lane: &'static str) -> Result<Counted, Status> {
        if self.shared.shutdown.is_draining() {
            return Err(Status::unavailable("the replica is stopping"));
        }
        let gauge = self.shared.metrics.streams.get_or_create(&Lane { lane }).clone();
        if gauge.get() >= MAX_STREAMS {
            return Err(Status::resource_exhausted("the replica holds as many streams as it can; try another one"));
        }
        gauge.inc();
        Ok(Counted { gauge })
    }
}

/// Counts a stream for as long as it lives.
struct Counted {
    gauge: prometheus_client::metrics::gauge::Gauge,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[tonic::async_trait]
impl NodeService for Nodes {
    type SyncStream = Outgoing<SyncResponse>;

    async fn sync(&self, request: Request<Streaming<SyncRequest>>) -> Result<Response<Self::SyncStream>, Status> {
        let counted = self.admit("sync")?;
        let peer = peer(&request)?.clone();
        let (outbox, outgoing) = Outbox::new();
        let (shared, incoming) = (self.shared.clone(), request.into_inner());
        self.tasks.spawn("sync stream", Kind::Helper, async move {
            sync::run(shared, peer, incoming, outbox).await;
            drop(counted);
        });
        Ok(Response::new(outgoing))
    }

    type PulseStream = Outgoing<BeatReply>;

    async fn pulse(&self, request: Request<Streaming<Beat>>) -> Result<Response<Self::PulseStream>, Status> {
        let counted = self.admit("pulse")?;
        let peer = peer(&request)?.clone();
        let (outbox, outgoing) = Outbox::new();
        let (shared, incoming) = (self.shared.clone(), request.into_inner());
        self.tasks.spawn("pulse stream", Kind::Helper, async move {
            pulse::run(shared, peer, incoming, outbox).await;
            drop(counted);
        });
        Ok(Response::new(outgoing))
    }
}
