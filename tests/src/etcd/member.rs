//! One member: its listener, and what every request has to pass first.

use std::time::Duration;

use etcd_client::proto::{PbKvServer, PbLeaseServer, PbWatchServer};
use meridian_host::{Connection, Listen};
use meridian_proto::transport;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Request, Status};

use super::cluster::{Cluster, ELECTION_TIMEOUT, Standing};
use super::data::Refusal;

/// How long a member keeps a request that it cannot carry out: etcd's five seconds and two election timeouts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);
/// How often time is let pass where no request comes: etcd looks at leases twice a second.
const TICK: Duration = Duration::from_millis(100);
/// etcd's default `--max-request-bytes`, with the room that its gRPC server adds.
const MAX_REQUEST_BYTES: usize = 1536 * 1024 + 512 * 1024;

/// One member of a [`Cluster`].
#[derive(Clone)]
pub struct Member {
    pub(super) cluster: Cluster,
    pub(super) index: usize,
}

/// Counts as running while it lives, so that a crash is seen.
struct Running(Member);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.cluster.set_running(self.0.index, false);
    }
}

impl Member {
    /// The member number `index`, from 0.
    #[must_use]
    pub fn new(cluster: Cluster, index: usize) -> Self {
        Self { cluster, index }
    }

    /// Serves clients until the listener fails. Dropping the future is a crash: what was committed stays.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(self, listener: Box<dyn Listen>) -> anyhow::Result<()> {
        self.cluster.set_running(self.index, true);
        let running = Running(self.clone());
        let plain = |connection: Connection| async move { Ok((connection, None::<()>)) };
        let serving = tonic::transport::Server::builder()
            .add_service(PbKvServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(PbWatchServer::new(self.clone()))
            .add_service(PbLeaseServer::new(self.clone()))
            .serve_with_incoming(transport::incoming(listener, plain));
        let mut ticks = tokio::time::interval(TICK);
        let ticking = async {
            loop {
                ticks.tick().await;
                self.cluster.tick();
            }
        };
        let served = tokio::select! {
            served = serving => served,
            () = ticking => Ok(()),
        };
        drop(running);
        Ok(served?)
    }

    /// Returns when this member can carry out a request that goes through the leader.
    pub(super) async fn led<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let mut moved = self.cluster.subscribe();
        loop {
            match self.cluster.standing(self.index) {
                Standing::Led => return Ok(()),
                Standing::Leaderless(since) if requires_leader(request) && since >= ELECTION_TIMEOUT => {
                    return Err(no_leader());
                }
                Standing::Leaderless(_) => {}
            }
            if timeout_at(deadline, moved.changed()).await.is_err() {
                return Err(timed_out());
            }
        }
    }
}

/// Whether the client wants to hear at once that there is no leader.
pub(super) fn requires_leader<T>(request: &Request<T>) -> bool {
    request.metadata().get("hasleader").is_some_and(|value| value == "true")
}

pub(super) fn no_leader() -> Status {
    Status::unavailable("etcdserver: no leader")
}

pub(super) fn timed_out() -> Status {
    Status::unavailable("etcdserver: request timed out")
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, text) = match refusal {
            Refusal::EmptyKey => (Code::InvalidArgument, "etcdserver: key is not provided"),
            Refusal::DuplicateKey => (Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
            Refusal::TooManyOps => (Code::InvalidArgument, "etcdserver: too many operations in txn request"),
            Refusal::Compacted => (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
            Refusal::FutureRevision => (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
            Refusal::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
        };
        Self::new(code, text)
    }
}
