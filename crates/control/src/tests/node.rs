//! A node played by hand: it beats, reports what it is told to have seen, and takes commits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_proto::convert;
use meridian_proto::fleet::v1::{LeftOut, SwitchScope};
use meridian_proto::node::v1::node_service_client::NodeServiceClient;
use meridian_proto::node::v1::{
    Ack, ActiveFault, ActiveSwitch, Beat, BeatReply, CommitBody, CommitChunk, Fault, Handed, Hello, Nack, NodeIdentity,
    Observation, OutageList, Query, Reply, Report, Role, ServingState, SyncRequest, SyncResponse, TargetFinding,
    TargetReport, query, reply, sync_request, sync_response,
};
use meridian_types::LatencySketch;
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::sandbox::{LIMIT, channel};

const BEAT: Duration = Duration::from_millis(100);

/// What the node says of itself.
#[derive(Clone)]
pub(super) struct Words {
    pub(super) state: ServingState,
    pub(super) in_flight: u32,
    pub(super) first_token_ms: f64,
    /// Times to first content of all its requests, which are streams of the target `openai:gpt`; `None`: as an older build.
    pub(super) first_tokens: Option<LatencySketch>,
    /// It says nothing any more, with its connection open.
    pub(super) stopped: bool,
    /// What it serves: commit and digest.
    pub(super) serves: (u64, Vec<u8>),
    /// It says that no echo came.
    pub(super) deaf: bool,
    /// Why its file is not written.
    pub(super) unsaved: String,
    /// What it refused last, and why.
    pub(super) refuses: (u64, String, Vec<u8>),
    /// Other nodes as `region/name`, and whether they are reached.
    pub(super) sees: BTreeMap<String, bool>,
    /// To whom it handed requests over in vain.
    pub(super) lost: BTreeSet<String>,
    /// What it finds of `provider:model`: why it is down, or nothing if it is up.
    pub(super) finds: BTreeMap<String, String>,
    /// What it did by itself.
    pub(super) left_out: Vec<LeftOut>,
}

/// What it says to questions.
type Answers = Box<dyn Fn(query::Question) -> reply::Answer + Send>;

/// A node that beats.
pub(super) struct Pulsing {
    answers: Arc<Mutex<Option<Answers>>>,
    pub(super) words: Arc<Mutex<Words>>,
    pub(super) replies: watch::Receiver<Option<BeatReply>>,
    /// The newest plan that came.
    pub(super) plans: watch::Receiver<Option<meridian_proto::fleet::v1::Plan>>,
    /// Ids of the injected faults that it was told of last.
    pub(super) faults: watch::Receiver<Option<Vec<String>>>,
    /// How long the first of them still held.
    pub(super) left_ms: watch::Receiver<u32>,
    /// What it was told last is switched off.
    pub(super) switches: watch::Receiver<Option<Vec<SwitchScope>>>,
    /// The outages that it was told of last.
    pub(super) outages: watch::Receiver<Option<OutageList>>,
    /// The peers that it was told of last.
    pub(super) peers: watch::Receiver<Option<Vec<String>>>,
    /// How often it was asked to look at its peers.
    pub(super) looks: watch::Receiver<u32>,
    task: JoinHandle<()>,
}

pub(super) fn identity(region: &str, name: &str, incarnation: u64) -> NodeIdentity {
    NodeIdentity {
        node: name.to_owned(),
        incarnation,
        region: region.to_owned(),
        cell: "a".to_owned(),
        build: "test".to_owned(),
        role: Role::Node.into(),
        public_addresses: vec!["127.0.0.1:8080".to_owned()],
        max_in_flight: 100,
        peer_address: String::new(),
    }
}

impl Pulsing {
    /// Connects and beats until it is dropped.
    pub(super) async fn start(to: SocketAddr, region: &str, name: &str, others: &[&str]) -> Self {
        Self::with(to, identity(region, name, 1), others).await
    }

    pub(super) async fn with(to: SocketAddr, identity: NodeIdentity, others: &[&str]) -> Self {
        let words = Words {
            state: ServingState::Serving,
            in_flight: 1,
            first_token_ms: 100.0,
            first_tokens: None,
            stopped: false,
            serves: (0, Vec::new()),
            deaf: false,
            unsaved: String::new(),
            refuses: (0, String::new(), Vec::new()),
            sees: others.iter().map(|other| ((*other).to_owned(), true)).collect(),
            lost: BTreeSet::new(),
            finds: BTreeMap::new(),
            left_out: Vec::new(),
        };
        let words = Arc::new(Mutex::new(words));
        let (sender, replies) = watch::channel(None);
        let (plan_sender, plans) = watch::channel(None);
        let (fault_sender, faults) = watch::channel(None);
        let (left_sender, left_ms) = watch::channel(0);
        let (switch_sender, switches) = watch::channel(None);
        let (outage_sender, outages) = watch::channel(None);
        let (look_sender, looks) = watch::channel(0);
        let (peer_sender, peers) = watch::channel(None);
        let (queue, beats) = mpsc::channel(1);
        let mut client = NodeServiceClient::new(channel(to).await);
        let mut incoming = client.pulse(ReceiverStream::new(beats)).await.unwrap().into_inner();
        let said = words.clone();
        let answers: Arc<Mutex<Option<Answers>>> = Arc::default();
        let answering = answers.clone();
        let task = tokio::spawn(async move {
            // Dropping the task closes the connection, as the end of a process would.
            let _client = client;
            let mut interval = tokio::time::interval(BEAT);
            let (mut sequence, mut echo_seen) = (0, 0);
            let mut answered: Vec<Reply> = Vec::new();
            loop {
                tokio::select! {
                    _ = interval.tick() => {
                        let words = said.lock().unwrap().clone();
                        if words.stopped {
                            continue;
                        }
                        sequence += 1;
                        let first = (sequence == 1).then(|| identity.clone());
                        let replies = std::mem::take(&mut answered);
                        let echo_seen = if words.deaf { 0 } else { echo_seen };
                        if queue.send(Beat { replies, echo_seen, ..beat(sequence, first, &words) }).await.is_err() {
                            return;
                        }
                    }
                    reply = incoming.message() => {
                        let Ok(Some(reply)) = reply else { return };
                        echo_seen = reply.sequence_echo;
                        if let Some(plan) = &reply.plan {
                            plan_sender.send_replace(Some(plan.clone()));
                        }
                        if let Some(list) = &reply.faults {
                            let id = |active: &ActiveFault| active.fault.clone().unwrap().id;
                            left_sender.send_replace(list.faults.first().map_or(0, |active| active.left_ms));
                            fault_sender.send_replace(Some(list.faults.iter().map(id).collect()));
                        }
                        if let Some(list) = &reply.switches {
                            let scope = |active: &ActiveSwitch| active.switch.clone().unwrap().scope.unwrap();
                            switch_sender.send_replace(Some(list.switches.iter().map(scope).collect()));
                        }
                        if let Some(list) = &reply.outages {
                            outage_sender.send_replace(Some(list.clone()));
                        }
                        if let Some(list) = &reply.peers {
                            peer_sender.send_replace(Some(list.peers.iter().map(|peer| peer.node.clone()).collect()));
                        }
                        if reply.look {
                            look_sender.send_modify(|looks| *looks += 1);
                        }
                        if let Some(answer) = &*answering.lock().unwrap() {
                            let answer = |query: &Query| Reply { id: query.id, answer: query.question.clone().map(answer) };
                            answered.extend(reply.queries.iter().map(answer));
                        }
                        sender.send_replace(Some(reply));
                    }
                }
            }
        });
        Self { answers, words, replies, plans, faults, left_ms, switches, outages, peers, looks, task }
    }

    /// From now on questions are answered, so.
    pub(super) fn answer_with(&self, answer: impl Fn(query::Question) -> reply::Answer + Send + 'static) {
        *self.answers.lock().unwrap() = Some(Box::new(answer));
    }

    pub(super) fn say(&self, change: impl FnOnce(&mut Words)) {
        change(&mut self.words.lock().unwrap());
    }

    /// From now on its probes of `other` (`region/name`) fail.
    pub(super) fn lose(&self, other: &str) {
        self.say(|words| {
            words.sees.insert(other.to_owned(), false);
        });
    }

    /// Ends it as a kill would.
    pub(super) fn kill(self) {
        self.task.abort();
    }
}

impl Drop for Pulsing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn beat(sequence: u64, identity: Option<NodeIdentity>, words: &Words) -> Beat {
    let observation = |(other, reachable): (&String, &bool)| {
        let (region, node) = other.split_once('/').unwrap();
        Observation {
            node: node.to_owned(),
            region: region.to_owned(),
            reachable: *reachable,
            age_ms: 10,
            streak: 1,
            detail: String::new(),
            handed: words.lost.contains(other).then_some(Handed { taken: false, age_ms: 10, streak: 2 }),
        }
    };
    let timed = |sketch: &LatencySketch| TargetReport {
        provider: "openai".to_owned(),
        model: "gpt".to_owned(),
        available: true,
        first_tokens: convert::latencies_to_wire(sketch),
        ..TargetReport::default()
    };
    let target = |(target, why): (&String, &String)| {
        let (provider, model) = target.split_once(':').unwrap();
        let finding = TargetFinding { down: !why.is_empty(), why: why.clone() };
        TargetReport {
            provider: provider.to_owned(),
            model: model.to_owned(),
            available: why.is_empty(),
            reason: why.clone(),
            finding: Some(finding),
            ..TargetReport::default()
        }
    };
    let report = Report {
        window_ms: 100,
        requests_finished: 5,
        first_token_p50_ms: words.first_token_ms,
        first_tokens: words.first_tokens.as_ref().and_then(convert::latencies_to_wire),
        targets: words.first_tokens.iter().map(timed).chain(words.finds.iter().map(target)).collect(),
        mean_duration_ms: 1000.0,
        observations: words.sees.iter().map(observation).collect(),
        left_out: words.left_out.clone(),
        ..Report::default()
    };
    Beat {
        sequence,
        identity,
        state: words.state.into(),
        in_flight: words.in_flight,
        commit: words.serves.0,
        digest: words.serves.1.clone().into(),
        report: Some(report),
        unsaved: words.unsaved.clone(),
        refused_commit: words.refuses.0,
        refusal: words.refuses.1.clone(),
        refused_digest: words.refuses.2.clone().into(),
        ..Beat::default()
    }
}

/// The other lane, driven step by step.
pub(super) struct Syncing {
    pub(super) requests: mpsc::Sender<SyncRequest>,
    incoming: Streaming<SyncResponse>,
    pub(super) accounts: Accounts,
    pub(super) content: Content,
    pub(super) commit: u64,
    pub(super) cluster_id: u64,
}

impl Syncing {
    /// Says hello with nothing held.
    pub(super) async fn start(to: SocketAddr, region: &str, name: &str) -> Self {
        let hello = Hello { identity: Some(identity(region, name, 1)), ..hello() };
        Self::with(to, hello).await.unwrap()
    }

    pub(super) async fn with(to: SocketAddr, hello: Hello) -> Result<Self, Status> {
        Self::over(channel(to).await, hello).await
    }

    pub(super) async fn over(channel: Channel, hello: Hello) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(16);
        requests.send(request(sync_request::Message::Hello(hello))).await.unwrap();
        let mut client = NodeServiceClient::new(channel);
        let incoming = client.sync(ReceiverStream::new(outgoing)).await?.into_inner();
        let (accounts, content) = (Accounts::default(), Content::default());
        let mut syncing = Self { requests, incoming, accounts, content, commit: 0, cluster_id: 0 };
        match syncing.receive().await? {
            sync_response::Message::Welcome(welcome) => {
                assert_eq!(welcome.proto, 1);
                syncing.cluster_id = welcome.cluster_id;
            }
            other => panic!("expected a welcome, not {other:?}"),
        }
        Ok(syncing)
    }

    /// The next message.
    pub(super) async fn receive(&mut self) -> Result<sync_response::Message, Status> {
        let message = tokio::time::timeout(LIMIT, self.incoming.message()).await.expect("nothing came");
        message.map(|message| message.expect("the stream ended").message.unwrap())
    }

    /// The next message, if one comes soon.
    pub(super) async fn soon(&mut self) -> Option<sync_response::Message> {
        let message = tokio::time::timeout(Duration::from_millis(300), self.incoming.message()).await.ok()?;
        message.unwrap().unwrap().message
    }

    /// The next commit's body; account updates on the way are applied.
    pub(super) async fn body(&mut self) -> CommitBody {
        let mut chunks: Vec<CommitChunk> = Vec::new();
        loop {
            match self.receive().await.unwrap() {
                sync_response::Message::Accounts(update) => assert!(self.accounts.apply(&update).is_empty()),
                sync_response::Message::Commit(chunk) => {
                    assert_eq!(chunk.index as usize, chunks.len());
                    let count = chunk.count as usize;
                    chunks.push(chunk);
                    if chunks.len() == count {
                        let data: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect();
                        return CommitBody::decode(data.as_slice()).unwrap();
                    }
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Takes a body as a node does, checks its digest, and acknowledges it.
    pub(super) async fn take(&mut self, body: CommitBody) {
        if body.base == 0 {
            self.content = Content::default();
        } else {
            assert_eq!(body.base, self.commit);
        }
        self.content.apply(body.upserts, body.removals);
        assert_eq!(self.content.digest().as_bytes(), body.digest);
        self.commit = body.commit;
        let digest = body.digest;
        let ack = Ack { commit: body.commit, digest, applied_us: 10 };
        self.requests.send(request(sync_request::Message::Ack(ack))).await.unwrap();
    }

    pub(super) async fn refuse(&mut self, commit: u64, text: &str) {
        self.nack(commit, "invalid_field", text).await;
    }

    /// Refuses with a fault of this code.
    pub(super) async fn nack(&mut self, commit: u64, code: &str, text: &str) {
        let fault = Fault { code: code.to_owned(), text: text.to_owned(), ..Fault::default() };
        let nack = Nack { commit, faults: vec![fault] };
        self.requests.send(request(sync_request::Message::Nack(nack))).await.unwrap();
    }
}

pub(super) fn request(message: sync_request::Message) -> SyncRequest {
    SyncRequest { message: Some(message) }
}

pub(super) fn hello() -> Hello {
    Hello { proto_min: 1, proto_max: 1, ..Hello::default() }
}
