//! What it costs when everybody comes back at once: bytes on the wire, HTTP/2 included.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, bail};
use meridian_host::{ByteStream, Connection, Host};
use meridian_proto::node::v1::node_service_client::NodeServiceClient;
use meridian_proto::node::v1::{Hello, NodeIdentity, SyncRequest, sync_request, sync_response};
use meridian_proto::transport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::PATIENCE;
use super::node::Held;

/// After the welcome nothing more is to come; what would, comes within this time.
const QUIET: Duration = Duration::from_secs(2);

/// Bytes from the control plane and to it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traffic {
    pub(super) down: u64,
    pub(super) up: u64,
}

#[derive(Debug, Default)]
struct Meter {
    down: AtomicU64,
    up: AtomicU64,
}

struct Metered {
    io: Box<dyn ByteStream>,
    meter: Arc<Meter>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, to);
        self.meter.down.fetch_add((to.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, from);
        if let Poll::Ready(Ok(written)) = &polled {
            self.meter.up.fetch_add(*written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Lets `count` nodes come back at once with what they hold, each over a connection of its own.
pub(super) async fn reconnect(host: &Host, address: &str, held: &Arc<Held>, count: usize) -> anyhow::Result<Traffic> {
    let meter = Arc::new(Meter::default());
    let mut nodes = JoinSet::new();
    for number in 0..count {
        nodes.spawn(come_back(host.clone(), address.to_owned(), held.clone(), number, meter.clone()));
    }
    while let Some(back) = nodes.join_next().await {
        back??;
    }
    Ok(Traffic { down: meter.down.load(Ordering::Relaxed), up: meter.up.load(Ordering::Relaxed) })
}

async fn come_back(
    host: Host,
    address: String,
    held: Arc<Held>,
    number: usize,
    meter: Arc<Meter>,
) -> anyhow::Result<()> {
    let authority = address.clone();
    let dial = move || {
        let (host, address, meter) = (host.clone(), address.clone(), meter.clone());
        async move {
            let Connection { io, peer, local } = host.net.connect(&address).await?;
            Ok::<_, io::Error>(Connection { io: Box::new(Metered { io, meter }), peer, local })
        }
    };
    let channel = transport::connect(&authority, dial).await?;
    let identity =
        NodeIdentity { node: format!("back-{number}"), incarnation: 1, region: "eu".to_owned(), ..Default::default() };
    let hello = Hello {
        proto_min: 1,
        proto_max: 1,
        identity: Some(identity),
        commit_held: held.commit.0,
        digest_held: held.digest.as_bytes().to_vec().into(),
        account_digests: held.accounts.bucket_digests().into(),
        ..Hello::default()
    };
    let (requests, outgoing) = mpsc::channel(1);
    requests.send(SyncRequest { message: Some(sync_request::Message::Hello(hello)) }).await?;
    let mut client = NodeServiceClient::new(channel);
    let mut responses = timeout(PATIENCE, client.sync(ReceiverStream::new(outgoing))).await??.into_inner();
    let first = timeout(PATIENCE, responses.message()).await??.and_then(|first| first.message);
    let Some(sync_response::Message::Welcome(_)) = first else { bail!("not welcomed: {first:?}") };
    match timeout(QUIET, responses.message()).await {
        Err(_) => Ok(()),
        Ok(more) => bail!("more came than the welcome: {:?}", more.context("and then an error")?),
    }
}
