//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them until the process stops.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use meridian_host::{Connection, Entropy, Listen};
use meridian_identity::{Role, ServerTls};
use meridian_lifecycle::Shutdown;
use meridian_types::{NodeName, RegionName, peer};
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::farewell::{Asked, Leave, Noted, Stop};
use crate::guard::{Guarded, Version};
use crate::metrics::Metrics;
use crate::routes::{Shared, router};
use crate::{Budget, Limits, Status, Surface, status};

/// Answers under way on one HTTP/2 connection: more belong on another, so that one cannot take the whole node.
const HTTP2_MAX_STREAMS: u32 = 256;

/// What a client may send ahead of our reading, for one request and for a connection.
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Scrapers and probes of a process that serves no clients: a few of each, and room for a person.
const STATUS_CONNECTIONS: usize = 64;

/// What is held of one answer for a client that reads slowly: some events. Beyond it reading upstream pauses.
const HTTP2_SEND_BUFFER: usize = 32 * 1024;

/// A client that vanished without closing is found out although it only waits.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Streams that a client took back before we got to them, and streams that we ended for its mistakes: beyond it the
/// connection is closed. One that opens and resets streams costs us work and itself nothing (CVE-2023-44487,
/// RUSTSEC-2024-0003).
const HTTP2_MAX_PENDING_RESETS: usize = 20;
const HTTP2_MAX_ERROR_RESETS: usize = 256;

/// Who connects to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Clients, whoever they are.
    Clients,
    /// Other nodes: with TLS, only certificates of that role are taken. Nothing but requests to models is served.
    Peers,
}

/// Options of a [`Service`].
pub struct Options {
    /// Who connects.
    pub callers: Callers,
    /// Where they connect.
    pub listener: Box<dyn Listen>,
    /// `None`: plaintext.
    pub tls: Option<ServerTls>,
    /// What clients may take.
    pub limits: Limits,
    /// What all request bodies of the process may take together.
    pub budget: Budget,
    /// Where this is: in ids and headers.
    pub region: RegionName,
    /// Who this is: in ids and headers.
    pub node: NodeName,
    /// Randomness for ids.
    pub entropy: Arc<dyn Entropy>,
    /// How long new connections are still taken after the drain began: until load balancers and resolvers know.
    pub linger: Duration,
}

/// The listener.
pub struct Service {
    callers: Callers,
    listener: Box<dyn Listen>,
    tls: Option<ServerTls>,
    limits: Limits,
    linger: Duration,
    drained: watch::Receiver<bool>,
    metrics: Metrics,
    server: Server,
}

type Handler = TowerToHyperService<axum::Router>;

#[derive(Clone)]
struct Server {
    builder: Builder<TokioExecutor>,
    handler: Handler,
}

impl Service {
    /// A service that accepts nothing until it runs; its metrics go to `registry`.
    pub fn new(options: Options, surface: Arc<dyn Surface>, registry: &mut Registry) -> Self {
        let Options { callers, listener, tls, limits, budget, region, node, entropy, linger } = options;
        let metrics = Metrics::register(callers, registry);
        let drained = surface.drained();
        let header = |name: &str| HeaderValue::try_from(name).unwrap_or_else(|_| HeaderValue::from_static(""));
        let shared = Shared {
            surface,
            limits,
            budget,
            entropy,
            region: header(region.as_str()),
            node: header(node.as_str()),
            metrics: metrics.clone(),
        };
        let handler = TowerToHyperService::new(router(callers, Arc::new(shared)));
        let server = Server { builder: builder(callers, &limits), handler };
        Self { callers, listener, tls, limits, linger, drained, metrics, server }
    }

    /// Serves nothing but what machines ask of a process: `/healthz`, `/readyz` and `/metrics`. It takes connections
    /// as long as the process drains, so that its end can be watched.
    pub fn of_status(listener: Box<dyn Listen>, status: Arc<dyn Status>) -> Self {
        let limits = Limits { max_connections: STATUS_CONNECTIONS, ..Limits::default() };
        let handler = TowerToHyperService::new(status::router(status));
        let callers = Callers::Clients;
        let server = Server { builder: builder(callers, &limits), handler };
        // Never drained: whoever asks here wants this process and no other.
        let (linger, drained) = (Duration::MAX, watch::Sender::new(false).subscribe());
        Self { callers, listener, tls: None, limits, linger, drained, metrics: Metrics::default(), server }
    }

    /// Serves. When the drain begins, connections that are idle are closed, the others after their answer; new ones are
    /// taken for the linger time. While the surface says that it is drained, clients are asked to connect anew after each
    /// answer, and are served. Returns when every connection has ended, or at once when forced.
    pub async fn run(mut self, shutdown: Shutdown) {
        // Dropped, it ends them: so none has to look for itself, with each event of a stream, whether it is forced to.
        let mut connections = JoinSet::new();
        let slots = Arc::new(Semaphore::new(self.limits.max_connections.min(Semaphore::MAX_PERMITS)));
        // Ends the connections that were taken during the linger time.
        let last_call = CancellationToken::new();
        let lingered = async {
            shutdown.draining().await;
            tokio::time::sleep(self.linger).await;
        };
        tokio::pin!(lingered);
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.forced() => break,
                () = &mut lingered => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let connection = match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::error!(%error, "the listener failed");
                    break;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                self.metrics.connections_refused.inc();
                continue;
            };
            let stop = if shutdown.is_draining() { Stop::At(last_call.clone()) } else { Stop::OnDrain };
            connections.spawn(self.serve(connection, slot, stop, shutdown.clone()));
        }
        drop(self.listener);
        last_call.cancel();
        let all = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            () = shutdown.forced() => {}
            () = all => {}
        }
    }

    fn serve(
        &self,
        connection: Connection,
        slot: OwnedSemaphorePermit,
        stop: Stop,
        shutdown: Shutdown,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, metrics, server, limits) = (self.tls.clone(), self.metrics.clone(), self.server.clone(), self.limits);
        let callers = self.callers;
        let asked = Asked::default();
        let leave = Leave { shutdown, stop, drained: self.drained.clone(), asked: asked.clone() };
        async move {
            let _slot = slot;
            let _open = Open::new(&metrics);
            let connection = match secured(callers, tls, connection).await {
                Ok(connection) => connection,
                Err(error) => {
                    metrics.handshakes_failed.inc();
                    tracing::debug!(%error, "TLS handshake failed");
                    return;
                }
            };
            server.serve(Guarded::new(connection.io, limits), asked, leave).await;
        }
    }
}

impl Server {
    async fn serve(self, mut io: Guarded, asked: Asked, leave: Leave) {
        let Self { builder, handler } = self;
        let version = tokio::select! {
            version = io.version() => version,
            // It has asked for nothing.
            () = leave.stopped() => return,
        };
        let version = match version {
            Ok(version) => version,
            Err(error) => {
                tracing::debug!(%error, "connection ended before a request");
                return;
            }
        };
        let builder = match version {
            Version::Http1 => builder.http1_only(),
            Version::Http2 => builder.http2_only(),
        };
        let connection = builder.serve_connection(TokioIo::new(io), Noted { handler, asked });
        tokio::pin!(connection);
        let outcome = tokio::select! {
            biased;
            outcome = &mut connection => outcome,
            () = leave.wait(version) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // A client that breaks off is its own affair.
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection ended");
        }
    }
}

async fn secured(callers: Callers, tls: Option<ServerTls>, connection: Connection) -> io::Result<Connection> {
    let Some(tls) = tls else { return Ok(connection) };
    let (connection, identity) = tls.accept(connection).await?;
    if callers == Callers::Peers {
        let identity = identity.filter(|identity| identity.role == Role::Node);
        let identity = identity.ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "no node"))?;
        tracing::info!(peer = %identity, address = %connection.peer, "another node connected");
    }
    Ok(connection)
}

fn builder(callers: Callers, limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(match callers {
            Callers::Clients => HTTP2_MAX_STREAMS,
            Callers::Peers => peer::MAX_STREAMS,
        })
        .max_pending_accept_reset_streams(HTTP2_MAX_PENDING_RESETS)
        .max_local_error_reset_streams(HTTP2_MAX_ERROR_RESETS)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}

/// Counts a connection while it is open.
struct Open(Metrics);

impl Open {
    fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
