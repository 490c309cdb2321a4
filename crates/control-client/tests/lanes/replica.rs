//! A scripted control replica: each Sync call is handed to the test, pulses are echoed until told otherwise.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use meridian_proto::content::Content;
use meridian_proto::fleet::v1::Plan;
use meridian_proto::node::v1;
use meridian_proto::node::v1::node_service_server::{NodeService, NodeServiceServer};
use meridian_proto::node::v1::{sync_request, sync_response};
use meridian_proto::transport;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::machine::{Machine, Pipes};

/// Of paused time: longer than any wait of a node.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a replica behaves, and what it saw.
#[derive(Default)]
pub(crate) struct Behaviour {
    pub(crate) mute: AtomicBool,
    /// Nobody plans.
    pub(crate) leaderless: AtomicBool,
    /// With the next reply.
    pub(crate) look: AtomicBool,
    pub(crate) plan: Mutex<Option<Plan>>,
    pub(crate) peers: Mutex<Option<v1::PeerList>>,
    pub(crate) beats: Mutex<Vec<v1::Beat>>,
    /// Sent with the next reply.
    pub(crate) faults: Mutex<Option<v1::FaultList>>,
    pub(crate) switches: Mutex<Option<v1::SwitchList>>,
    pub(crate) outages: Mutex<Option<v1::OutageList>>,
    /// Asked with the next reply.
    pub(crate) queries: Mutex<Vec<v1::Query>>,
    pub(crate) pulses: Mutex<u32>,
    /// Said in welcomes and replies; 0: nothing.
    pub(crate) cluster_id: AtomicU64,
}

pub(crate) struct Replica {
    pub(crate) behaviour: Arc<Behaviour>,
    calls: mpsc::Receiver<SyncCall>,
    net: Arc<Pipes>,
    authority: String,
}

/// One Sync stream, from the replica's side; the hello is read.
pub(crate) struct SyncCall {
    pub(crate) hello: v1::Hello,
    requests: Streaming<v1::SyncRequest>,
    responses: mpsc::Sender<Result<v1::SyncResponse, Status>>,
    cluster_id: u64,
}

impl Replica {
    pub(crate) fn start(machine: &Machine, authority: &str) -> Self {
        let behaviour = Arc::new(Behaviour::default());
        let (sender, calls) = mpsc::channel(16);
        let service = NodeServiceServer::new(Service { behaviour: behaviour.clone(), calls: sender });
        let incoming = transport::incoming::<(), _, _>(machine.net.bind(authority), |c| async { Ok((c, None)) });
        tokio::spawn(async move {
            transport::server().add_service(service).serve_with_incoming(Box::pin(incoming)).await.unwrap();
        });
        Self { behaviour, calls, net: machine.net.clone(), authority: authority.to_owned() }
    }

    /// The next Sync call, not yet welcomed.
    pub(crate) async fn call(&mut self) -> SyncCall {
        tokio::time::timeout(PATIENCE, self.calls.recv()).await.expect("a sync call").unwrap()
    }

    /// The next Sync call, however long it takes.
    pub(crate) async fn next_call(&mut self) -> Option<SyncCall> {
        self.calls.recv().await
    }

    /// The next Sync call, welcomed.
    pub(crate) async fn welcome(&mut self) -> SyncCall {
        let call = self.call().await;
        call.welcome(1).await;
        call
    }

    /// Crashes: connections are reset, nobody listens.
    pub(crate) fn crash(self) {
        self.net.cut(&self.authority);
    }
}

impl SyncCall {
    pub(crate) async fn welcome(&self, proto: u32) {
        let cluster_id = self.cluster_id;
        let welcome = v1::Welcome { proto, replica: "c1".to_owned(), cluster_id, epoch: 0 };
        self.send(sync_response::Message::Welcome(welcome)).await;
    }

    pub(crate) async fn send(&self, message: sync_response::Message) {
        self.responses.send(Ok(v1::SyncResponse { message: Some(message) })).await.unwrap();
    }

    /// Sends `content` as a commit, relative to `base` if there is one.
    pub(crate) async fn send_commit(&self, commit: u64, content: &Content, base: Option<(u64, &Content)>) {
        let (upserts, removals) = content.diff(&base.map_or_else(Content::default, |(_, base)| base.clone()));
        let digest = content.digest().as_bytes().to_vec().into();
        let base = base.map_or(0, |(base, _)| base);
        self.send_body(&v1::CommitBody { commit, base, upserts, removals, digest }).await;
    }

    pub(crate) async fn send_body(&self, body: &v1::CommitBody) {
        for chunk in chunks(body) {
            self.send(sync_response::Message::Commit(chunk)).await;
        }
    }

    /// What the node says next; `None`: it left.
    pub(crate) async fn next(&mut self) -> Option<sync_request::Message> {
        tokio::time::timeout(PATIENCE, self.requests.message()).await.expect("a message").ok()??.message
    }

    pub(crate) async fn ack(&mut self) -> v1::Ack {
        match self.next().await {
            Some(sync_request::Message::Ack(ack)) => ack,
            other => panic!("expected an ack, got {other:?}"),
        }
    }

    pub(crate) async fn nack(&mut self) -> v1::Nack {
        match self.next().await {
            Some(sync_request::Message::Nack(nack)) => nack,
            other => panic!("expected a nack, got {other:?}"),
        }
    }
}

/// Three chunks, whatever the size.
pub(crate) fn chunks(body: &v1::CommitBody) -> Vec<v1::CommitChunk> {
    let bytes = body.encode_to_vec();
    let parts: Vec<_> = bytes.chunks(bytes.len().div_ceil(3)).collect();
    let count = u32::try_from(parts.len()).unwrap();
    let chunk =
        |(data, index): (&[u8], u32)| v1::CommitChunk { commit: body.commit, index, count, data: data.to_vec().into() };
    parts.into_iter().zip(0..).map(chunk).collect()
}

struct Service {
    behaviour: Arc<Behaviour>,
    calls: mpsc::Sender<SyncCall>,
}

#[tonic::async_trait]
impl NodeService for Service {
    type SyncStream = ReceiverStream<Result<v1::SyncResponse, Status>>;
    type PulseStream = std::pin::Pin<Box<dyn Stream<Item = Result<v1::BeatReply, Status>> + Send>>;

    async fn sync(&self, request: Request<Streaming<v1::SyncRequest>>) -> Result<Response<Self::SyncStream>, Status> {
        let mut requests = request.into_inner();
        let Some(v1::SyncRequest { message: Some(sync_request::Message::Hello(hello)) }) = requests.message().await?
        else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (responses, stream) = mpsc::channel(16);
        let cluster_id = self.behaviour.cluster_id.load(Ordering::Relaxed);
        self.calls.send(SyncCall { hello, requests, responses, cluster_id }).await.unwrap();
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn pulse(&self, request: Request<Streaming<v1::Beat>>) -> Result<Response<Self::PulseStream>, Status> {
        let behaviour = self.behaviour.clone();
        *behaviour.pulses.lock().unwrap() += 1;
        let replies = request.into_inner().filter_map(move |beat| {
            let beat = beat.ok()?;
            let reply = v1::BeatReply {
                sequence_echo: beat.sequence,
                replica: "c1".to_owned(),
                plan: behaviour.plan.lock().unwrap().clone(),
                peers: behaviour.peers.lock().unwrap().clone(),
                cluster_id: behaviour.cluster_id.load(Ordering::Relaxed),
                faults: behaviour.faults.lock().unwrap().take(),
                switches: behaviour.switches.lock().unwrap().take(),
                outages: behaviour.outages.lock().unwrap().take(),
                leaderless: behaviour.leaderless.load(Ordering::Relaxed),
                look: behaviour.look.swap(false, Ordering::Relaxed),
                queries: std::mem::take(&mut *behaviour.queries.lock().unwrap()),
            };
            behaviour.beats.lock().unwrap().push(beat);
            (!behaviour.mute.load(Ordering::Relaxed)).then_some(Ok(reply))
        });
        Ok(Response::new(Box::pin(replies)))
    }
}
