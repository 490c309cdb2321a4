//! A listener whose answers never end, and raw sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use meridian_host::{Network, OsEntropy, TcpNetwork};
use meridian_ingress::{
    Audience, Budget, Call, Callers, Limits, ModelCard, Options, Refused, Reply, Service, Status, Surface,
};
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_types::ErrorCode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A test that waits longer than this for anything has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Short, and longer than a busy machine is late.
pub(crate) fn limits() -> Limits {
    Limits {
        first_byte: Duration::from_millis(400),
        head: Duration::from_millis(600),
        body_gap: Duration::from_millis(400),
        body: Duration::from_millis(1200),
        write_stall: Duration::from_millis(500),
        max_connections: 3,
        ..Limits::default()
    }
}

pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// Answers that somebody holds.
    pub(crate) open: Arc<AtomicUsize>,
    _trigger: ShutdownTrigger,
}

struct Endless {
    open: Arc<AtomicUsize>,
}

/// Counts while it lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Surface for Endless {
    async fn ask(&self, call: Call) -> Reply {
        let to = Audience { dialect: call.endpoint.dialect(), id: call.id.clone() };
        if let Err(refused) = call.body.read().await {
            return refused.into_reply(&to);
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(&self.open));
        let frames = stream::unfold(open, |open| async move {
            Some((Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024]))), open))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    fn models(&self, _: &HeaderMap) -> Result<Vec<ModelCard>, Refused> {
        Err(Refused::new(ErrorCode::NotFound, "none"))
    }

    fn is_leaving(&self) -> bool {
        false
    }

    fn drained(&self) -> watch::Receiver<bool> {
        watch::Sender::new(false).subscribe()
    }
}

impl Status for Endless {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self) -> String {
        String::new()
    }
}

impl Listener {
    pub(crate) async fn start(limits: Limits) -> Self {
        let listener = TcpNetwork.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(AtomicUsize::new(0));
        let options = Options {
            callers: Callers::Clients,
            listener,
            tls: None,
            limits,
            budget: Budget::new(limits.budget_bytes),
            region: "eu-west".parse().unwrap(),
            node: "n1".parse().unwrap(),
            entropy: Arc::new(OsEntropy),
            linger: Duration::ZERO,
        };
        let surface = Arc::new(Endless { open: Arc::clone(&open) });
        let service = Service::new(options, surface, &mut Registry::default());
        let (trigger, seen) = shutdown();
        tokio::spawn(service.run(seen));
        Self { address, open, _trigger: trigger }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// Sends `drip` again and again with pauses until the other end hangs up; what it had said until then.
pub(crate) async fn drip(socket: TcpStream, drip: &'static [u8], pause: Duration) -> String {
    let (mut from, mut to) = socket.into_split();
    let dripping = tokio::spawn(async move {
        while to.write_all(drip).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    let mut said = Vec::new();
    // A reset is a hang-up too.
    let _ = tokio::time::timeout(PATIENCE, from.read_to_end(&mut said)).await.expect("it hangs up");
    dripping.abort();
    String::from_utf8_lossy(&said).into_owned()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
