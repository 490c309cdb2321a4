//! A network whose connections a test holds the other ends of, and one provider on it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use http_body_util::BodyExt;
use meridian_host::{Connection, Datagram, Host, Listen, Network};
use meridian_providers::UpstreamRequest;
use meridian_resilience::{Patience, Timeline};
use meridian_types::Provider;
use meridian_types::provider::{Deadlines, Probe};
use meridian_upstream::{Options, SendError, Transport, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

/// A test that waits longer than this for anything has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a pipe holds in each direction.
const PIPE_BYTES: usize = 64 * 1024;

/// Every connection is a pipe, and the test gets the other end of it.
pub(crate) struct Pipes(mpsc::UnboundedSender<DuplexStream>);

impl Pipes {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<DuplexStream>) {
        let (sender, accepted) = mpsc::unbounded_channel();
        (Arc::new(Self(sender)), accepted)
    }
}

fn unused<T>() -> std::io::Result<T> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[async_trait]
impl Network for Pipes {
    async fn connect(&self, _authority: &str) -> std::io::Result<Connection> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        self.0.send(far).map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Ok(Connection { io: Box::new(near), peer: address, local: address })
    }

    async fn connect_from(&self, _source: IpAddr, authority: &str) -> std::io::Result<Connection> {
        self.connect(authority).await
    }

    async fn listen(&self, _address: SocketAddr) -> std::io::Result<Box<dyn Listen>> {
        unused()
    }

    async fn datagram(&self, _address: SocketAddr) -> std::io::Result<Box<dyn Datagram>> {
        unused()
    }
}

pub(crate) async fn transport(net: Arc<dyn Network>, extra_ca: Option<PathBuf>) -> Transport {
    let host = Host { net, ..Host::real() };
    Transport::new(Options { host, egress_address: None, extra_ca }).await.unwrap()
}

/// A provider of OpenAI's dialect.
pub(crate) fn upstream(transport: &Transport, base_url: &str, probe: Option<Probe>) -> Upstream {
    let provider = Provider {
        name: "p".parse().unwrap(),
        codec: "openai_compatible".to_owned(),
        base_url: base_url.to_owned(),
        credential: None,
        jurisdiction: "EU".parse().unwrap(),
        max_in_flight: 1000,
        deadlines: Deadlines::default(),
        probe,
        token_limit: None,
    };
    Upstream::new(transport, provider, meridian_providers::find("openai_compatible").unwrap()).unwrap()
}

/// One request, and its answer to the end.
pub(crate) async fn ask(upstream: &Upstream) -> Result<StatusCode, SendError> {
    let mut timeline = Timeline::start(Deadlines::default(), Patience::default(), true);
    let answer = upstream.send(UpstreamRequest::get("/models"), [], &mut timeline).await?;
    answer.body.collect().await.expect("a whole body");
    Ok(answer.status)
}

/// Reads the head of one request. `None`: the other end closed before it.
pub(crate) async fn head(server: &mut DuplexStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(server.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers one request, and keeps the connection.
pub(crate) async fn serve(server: &mut DuplexStream) {
    head(server).await.expect("a request");
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
}

/// Time stands still in these tests, and goes on only when nothing else has anything to do.
pub(crate) async fn rest() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
