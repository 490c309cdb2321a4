//! A replica of the control plane: built, run, drained.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use meridian_host::{Connection, Listen};
use meridian_identity::{Identity, ServerTls};
use meridian_lifecycle::{Kind, Readiness, Shutdown, Tasks};
use meridian_proto::admin::v1::admin_service_server::AdminServiceServer;
use meridian_proto::node::v1::node_service_server::NodeServiceServer;
use meridian_proto::{DESCRIPTORS, MAX_MESSAGE_BYTES, transport};
use meridian_store::Store;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tonic_health::ServingStatus;

use crate::Options;
use crate::access::Access;
use crate::admin::Admin;
use crate::fleet::{Fleet, Roster};
use crate::lead;
use crate::metrics::Metrics;
use crate::node::{Nodes, WHOLE_AT_ONCE};
use crate::planner::{self, Planner};
use crate::shared::Shared;
use crate::store::Layout;
use crate::view::Mirror;

/// Streams get so long to take their Goaway; then the connections are dropped, because tonic would wait for ever.
const DRAIN: Duration = Duration::from_secs(3);
/// What the streams' last messages need to leave the process.
const FLUSH: Duration = Duration::from_millis(200);
/// How often readiness is told to the health service.
const HEALTH_INTERVAL: Duration = Duration::from_millis(250);
/// What the health service knows; the empty name is the whole process.
const HEALTH_OF: [&str; 3] = ["", "meridian.admin.v1.AdminService", "meridian.node.v1.NodeService"];

/// One replica of the control plane.
pub struct Service {
    options: Options,
    /// Beside the one of the options.
    listeners: Vec<(Box<dyn Listen>, ServerTls)>,
    handle: Handle,
    metrics: Metrics,
    planner: Planner,
}

/// What others may know of a running replica; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    readiness: Readiness,
    address: SocketAddr,
}

/// Why a replica stopped without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is not the one that was followed, or went back in time: what this process knows is worth nothing.
    #[error("the store cannot be followed any more")]
    Store(#[source] meridian_store::follow::Ended),
    /// The listener failed.
    #[error("the listener failed")]
    Serve(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Handle {
    /// Ready once the store was read and the replica sees its own writes come back.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Where it really listens.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }
}

impl Service {
    /// Registers the metrics and takes the listener; nothing runs yet.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn new(options: Options, registry: &mut Registry) -> io::Result<Self> {
        let address = options.listener.local_addr()?;
        let handle = Handle { readiness: Readiness::waiting("the store was not read yet"), address };
        let (metrics, planner) = (Metrics::register(registry), planner::next);
        Ok(Self { options, listeners: Vec::new(), handle, metrics, planner })
    }

    /// With another planner, to see what a broken one can do.
    #[cfg(test)]
    pub(crate) fn with_planner(self, planner: Planner) -> Self {
        Self { planner, ..self }
    }

    /// Serves the same on another listener, with mutual TLS: nodes from elsewhere, while operators use the loopback.
    #[must_use]
    pub fn also_listen(mut self, listener: Box<dyn Listen>, tls: ServerTls) -> Self {
        self.listeners.push((listener, tls));
        self
    }

    /// For readiness and addresses.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown` drains: then sends every stream a Goaway, waits a bounded time, and returns.
    ///
    /// # Errors
    /// [`Error`]; the process should end, so that a supervisor starts it anew.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        let (trigger, shutdown) = shutdown.child();
        let tasks = Tasks::new(trigger.clone(), shutdown.clone());
        let Options { replica, address, cluster, store, host, listener, tls, plaintext, codecs } = self.options;
        let layout = Layout::new(&cluster);
        let store: Arc<dyn Store> = store;
        let (mirror, feed) = Mirror::new(store.clone(), layout.clone(), host.clone(), self.metrics.clone());
        let shared = Arc::new(Shared {
            replica,
            address,
            codecs,
            layout,
            store,
            host,
            mirror,
            fleet: Fleet::new(),
            roster: Roster::default(),
            whole_turns: Arc::new(Semaphore::new(WHOLE_AT_ONCE)),
            access: Access { plaintext },
            metrics: self.metrics,
            planner: self.planner,
            readiness: self.handle.readiness,
            shutdown: shutdown.clone(),
        });
        tasks.spawn("presence", Kind::Essential, lead::presence(shared.clone()));
        tasks.spawn("registrar", Kind::Essential, lead::registrar(shared.clone()));
        tasks.spawn("leader", Kind::Essential, lead::run(shared.clone()));
        let mut listeners = vec![(listener, tls)];
        listeners.extend(self.listeners.into_iter().map(|(listener, tls)| (listener, Some(tls))));
        let serving = serve(&shared, &tasks, listeners);
        // Kept until the end: streams that saw the mirror close would leave without their Goaway.
        let following = feed.run();
        tokio::pin!(serving, following);
        let outcome = tokio::select! {
            Err(ended) = &mut following => Err(Error::Store(ended)),
            served = &mut serving => served,
            () = shutdown.draining() => Ok(()),
        };
        trigger.drain();
        // The streams say goodbye while the server still carries their words.
        let farewell = async {
            let _ = tokio::time::timeout(DRAIN, tasks.finished()).await;
            tokio::time::sleep(FLUSH).await;
        };
        if outcome.is_ok() {
            tokio::select! {
                () = farewell => {}
                _ = &mut serving => {}
                () = shutdown.forced() => {}
            }
        }
        trigger.force();
        outcome
    }
}

async fn serve(
    shared: &Arc<Shared>,
    tasks: &Tasks,
    listeners: Vec<(Box<dyn Listen>, Option<ServerTls>)>,
) -> Result<(), Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let (readiness, shutdown) = (shared.readiness.clone(), shared.shutdown.clone());
    // Before anyone can ask: the library's own first word is "serving".
    for service in HEALTH_OF {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
    }
    tasks.spawn("health", Kind::Helper, async move {
        let mut interval = tokio::time::interval(HEALTH_INTERVAL);
        let mut draining = false;
        while !draining {
            tokio::select! {
                _ = interval.tick() => {}
                () = shutdown.draining() => draining = true,
            }
            let ready = !draining && readiness.check().is_ok();
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in HEALTH_OF {
                reporter.set_service_status(service, status).await;
            }
        }
    });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |error: tonic_reflection::server::Error| Error::Serve(Box::new(error));
    let nodes =
        NodeServiceServer::new(Nodes::new(shared.clone(), tasks.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let admin = AdminServiceServer::new(Admin::new(shared.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let incoming = listeners.into_iter().map(|(listener, tls)| transport::incoming(listener, handshake(tls)).boxed());
    transport::server()
        .add_service(nodes)
        .add_service(admin)
        .add_service(health)
        .add_service(reflection().build_v1().map_err(failed)?)
        .add_service(reflection().build_v1alpha().map_err(failed)?)
        .serve_with_incoming(futures::stream::select_all(incoming))
        .await
        .map_err(|error| Error::Serve(Box::new(error)))
}

/// TLS, or nothing at all.
fn handshake(
    tls: Option<ServerTls>,
) -> impl Fn(Connection) -> futures::future::BoxFuture<'static, io::Result<(Connection, Option<Identity>)>> + Send + 'static
{
    move |connection| {
        let tls = tls.clone();
        Box::pin(async move {
            match tls {
                Some(tls) => tls.accept(connection).await,
                None => Ok((connection, None)),
            }
        })
    }
}
