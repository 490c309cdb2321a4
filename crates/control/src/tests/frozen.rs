//! A node of the version before, played with that version's descriptors alone: it knows nothing of what came since.

use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::sandbox::{LIMIT, Replica, apply, channel, everything, region, shown};
use meridian_store::memory::MemoryStore;
use meridian_types::LatencySketch;

/// Descriptors of the first version.
const FROZEN: &[u8] = include_bytes!("../../../proto/tests/data/frozen-1.fds");

/// Passes bytes on.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// One lane, spoken in the old version.
struct Lane {
    pool: DescriptorPool,
    requests: mpsc::Sender<Bytes>,
    responses: Streaming<Bytes>,
    answers: &'static str,
}

impl Lane {
    async fn open(channel: Channel, method: &str, answers: &'static str, first: DynamicMessage) -> Self {
        let (requests, outgoing) = mpsc::channel(8);
        requests.send(first.encode_to_vec().into()).await.unwrap();
        let mut client = Grpc::new(channel);
        client.ready().await.unwrap();
        let path: PathAndQuery = format!("/meridian.node.v1.NodeService/{method}").parse().unwrap();
        let request = Request::new(ReceiverStream::new(outgoing));
        let responses = client.streaming(request, path, Raw).await.unwrap().into_inner();
        Self { pool: pool(), requests, responses, answers }
    }

    async fn say(&self, message: DynamicMessage) {
        self.requests.send(message.encode_to_vec().into()).await.unwrap();
    }

    async fn hear(&mut self) -> DynamicMessage {
        let bytes = tokio::time::timeout(LIMIT, self.responses.message()).await.unwrap().unwrap().unwrap();
        let message = self.pool.get_message_by_name(self.answers).unwrap();
        DynamicMessage::decode(message, bytes).unwrap()
    }

    /// The next commit of one chunk.
    async fn commit(&mut self) -> DynamicMessage {
        loop {
            let heard = self.hear().await;
            if heard.has_field_by_name("commit") {
                let chunk = field(&heard, "commit");
                let data = field(chunk.as_message().unwrap(), "data");
                let body = self.pool.get_message_by_name("meridian.node.v1.CommitBody").unwrap();
                return DynamicMessage::decode(body, data.as_bytes().unwrap().clone()).unwrap();
            }
        }
    }
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FROZEN).unwrap()
}

fn field(message: &DynamicMessage, name: &str) -> Value {
    message.get_field_by_name(name).unwrap().into_owned()
}

fn number(message: &DynamicMessage, name: &str) -> u64 {
    field(message, name).as_u64().unwrap()
}

fn message(name: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) -> DynamicMessage {
    let descriptor = pool().get_message_by_name(&format!("meridian.node.v1.{name}")).unwrap();
    let mut message = DynamicMessage::new(descriptor);
    for (name, value) in fields {
        message.set_field_by_name(name, value);
    }
    message
}

fn identity() -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    Value::Message(message(
        "NodeIdentity",
        [
            ("node", text("n1")),
            ("incarnation", Value::U64(1)),
            ("region", text("eu")),
            ("cell", text("a")),
            ("build", text("0.1.0")),
            ("role", Value::EnumNumber(1)),
            ("public_addresses", Value::List(vec![text("127.0.0.1:8080")])),
            ("max_in_flight", Value::U32(100)),
        ],
    ))
}

fn request(field: &'static str, inner: DynamicMessage) -> DynamicMessage {
    message("SyncRequest", [(field, Value::Message(inner))])
}

/// The acknowledgement of a body.
fn ack(body: &DynamicMessage) -> DynamicMessage {
    let fields = [("commit", field(body, "commit")), ("digest", field(body, "digest")), ("applied_us", Value::U64(7))];
    request("ack", message("Ack", fields))
}

fn beat(sequence: u64, body: &DynamicMessage) -> DynamicMessage {
    let fields = [
        ("sequence", Value::U64(sequence)),
        ("identity", identity()),
        ("state", Value::EnumNumber(1)),
        ("commit", field(body, "commit")),
        ("digest", field(body, "digest")),
    ];
    message("Beat", fields)
}

#[tokio::test]
async fn a_node_of_the_version_before_goes_on_with_this_control_plane() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let hello = [("proto_min", Value::U32(1)), ("proto_max", Value::U32(1)), ("identity", identity())];
    let hello = request("hello", message("Hello", hello));
    let mut sync = Lane::open(channel(replica.address).await, "Sync", "meridian.node.v1.SyncResponse", hello).await;
    let welcome = field(&sync.hear().await, "welcome");
    assert_eq!(number_32(welcome.as_message().unwrap(), "proto"), 1);
    let body = sync.commit().await;
    assert_eq!((number(&body, "commit"), number(&body, "base")), (1, 0));
    sync.say(ack(&body)).await;

    let mut pulse =
        Lane::open(channel(replica.address).await, "Pulse", "meridian.node.v1.BeatReply", beat(1, &body)).await;
    let reply = pulse.hear().await;
    assert_eq!(number(&reply, "sequence_echo"), 1);
    pulse.say(beat(2, &body)).await;
    let fleet = replica
        .fleet_with("it is taken for serving what it should", |fleet| {
            fleet
                .nodes
                .iter()
                .any(|node| (node.commit, node.digest_matches, node.last_pulse_age_ms >= 0) == (1, true, true))
        })
        .await;
    assert_eq!(fleet.nodes[0].faults, []);
    assert!(fleet.nodes[0].divergences.iter().all(|text| text.contains("plan")), "{:?}", fleet.nodes[0].divergences);

    // It knows nothing of sketches: its two quantiles count.
    let window = [
        ("window_ms", Value::U32(1000)),
        ("requests_finished", Value::U64(10)),
        ("first_token_p50_ms", Value::F64(200.0)),
        ("first_token_p99_ms", Value::F64(3000.0)),
    ];
    let mut reporting = beat(3, &body);
    reporting.set_field_by_name("report", Value::Message(message("Report", window)));
    pulse.say(reporting).await;
    let fleet = replica.fleet_with("it reports", |fleet| shown(fleet, "eu").first_tokens == 10).await;
    let eu = shown(&fleet, "eu");
    let near = |ms: f64, truth: f64| (ms - truth).abs() <= truth * LatencySketch::RELATIVE_ERROR;
    assert!(near(eu.first_token_p50_ms, 200.0) && near(eu.first_token_p99_ms, 3000.0), "{eu:?}");

    replica.apply(apply(1, vec![region("us", 5.0)], Vec::new())).await;
    let body = sync.commit().await;
    assert_eq!((number(&body, "commit"), number(&body, "base")), (2, 1));
    sync.say(ack(&body)).await;
    pulse.say(beat(4, &body)).await;
    replica.fleet_with("it serves the next one", |fleet| fleet.nodes.iter().any(|node| node.commit == 2)).await;
    replica.stop().await;
}

fn number_32(message: &DynamicMessage, name: &str) -> u32 {
    field(message, name).as_u32().unwrap()
}
