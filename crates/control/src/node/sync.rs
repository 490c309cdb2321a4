//! One sync stream: configuration and accounts down, acknowledgements up.

use std::sync::Arc;
use std::time::Duration;

use meridian_identity::Identity;
use meridian_proto::PROTO_VERSIONS;
use meridian_proto::accounts::Accounts;
use meridian_proto::node::v1::{
    AccountUpdate, Goaway, Hello, Nack, SyncRequest, SyncResponse, Welcome, sync_request, sync_response,
};
use meridian_proto::transport::Peer;
use meridian_types::{CommitId, Digest, ErrorCode, NodeName, RegionName};
use tonic::{Status, Streaming};

use super::outbox::{Closed, Outbox, Place};
use super::transfer::{self, Chunks, Turn};
use crate::fleet::Refusal;
use crate::rollout::CellId;
use crate::shared::Shared;
use crate::view::{Target, View};

/// A node says hello at once.
const HELLO: Duration = Duration::from_secs(5);
/// The store is read in this time, or the node is better served by another replica.
const LOADING: Duration = Duration::from_secs(10);
/// Nodes are told to come back, elsewhere or here, after up to this long.
const RECONNECT: Duration = Duration::from_secs(1);

/// Serves the stream until it ends.
pub(super) async fn run(
    shared: Arc<Shared>,
    peer: Peer<Identity>,
    mut incoming: Streaming<SyncRequest>,
    outbox: Outbox<SyncResponse>,
) {
    let hello = match tokio::time::timeout(HELLO, incoming.message()).await {
        Ok(Ok(Some(SyncRequest { message: Some(sync_request::Message::Hello(hello)) }))) => hello,
        Ok(Ok(Some(_))) => return outbox.fail(Status::invalid_argument("the first message must be a Hello")).await,
        _ => return,
    };
    let view = match welcome(&shared, &peer, &hello).await {
        Ok(view) => view,
        Err(status) => return outbox.fail(status).await,
    };
    let identity = hello.identity.clone().unwrap_or_default();
    let region = RegionName::new(&identity.region).ok();
    let cell = region.and_then(|region| CellId::new(&region, &identity.cell));
    let (name, session) = match shared.fleet.open_sync(identity) {
        Ok(opened) => opened,
        Err(refusal @ Refusal::Identity(_)) => return outbox.fail(Status::invalid_argument(refusal.to_string())).await,
        Err(refusal) => return outbox.fail(Status::failed_precondition(refusal.to_string())).await,
    };
    tracing::info!(node = %name, peer = %peer.address, held = hello.commit_held, "sync began");
    let mut lane = SyncLane {
        shared: shared.clone(),
        name: name.clone(),
        session,
        held: CommitId(hello.commit_held),
        digest: Digest::from_slice(&hello.digest_held),
        cell,
        sent: None,
        chunks: None,
        refused: None,
        turn: Turn::None,
        accounts: view.accounts.clone(),
    };
    // Whatever ended it, the node notices by itself.
    let _ = lane.serve(&hello, &view, &mut incoming, &outbox).await;
    shared.fleet.awaits(&name, session, None);
    tracing::info!(node = %name, "sync ended");
}

/// Checks the hello and waits until there is something to say.
async fn welcome(shared: &Shared, peer: &Peer<Identity>, hello: &Hello) -> Result<Arc<View>, Status> {
    let Some(identity) = &hello.identity else {
        return Err(Status::invalid_argument("the hello must carry an identity"));
    };
    shared.access.node(peer, identity)?;
    if hello.proto_max < *PROTO_VERSIONS.start() || hello.proto_min > *PROTO_VERSIONS.end() {
        return Err(Status::failed_precondition(format!(
            "this replica speaks versions {} to {}, the node {} to {}",
            PROTO_VERSIONS.start(),
            PROTO_VERSIONS.end(),
            hello.proto_min,
            hello.proto_max
        )));
    }
    shared.mirror.loaded(LOADING).await
}

struct SyncLane {
    shared: Arc<Shared>,
    name: NodeName,
    session: u64,
    /// What the node says that it serves.
    held: CommitId,
    digest: Option<Digest>,
    /// Which pin counts.
    cell: Option<CellId>,
    /// On its way, and not acknowledged: nothing else is sent until it is, and then only the newest.
    sent: Option<Arc<Target>>,
    /// What is left of it to be sent.
    chunks: Option<Chunks>,
    /// Not sent again.
    refused: Option<Arc<Target>>,
    /// To get a whole commit.
    turn: Turn,
    /// What the node has.
    accounts: Arc<Accounts>,
}

impl SyncLane {
    async fn serve(
        &mut self,
        hello: &Hello,
        view: &View,
        incoming: &mut Streaming<SyncRequest>,
        outbox: &Outbox<SyncResponse>,
    ) -> Result<(), Closed> {
        let mut views = self.shared.mirror.subscribe();
        let shutdown = self.shared.shutdown.clone();
        let welcome = Welcome {
            proto: hello.proto_max.min(*PROTO_VERSIONS.end()),
            replica: self.shared.replica.clone(),
            cluster_id: view.cluster_id,
            epoch: view.epoch,
        };
        send(outbox, sync_response::Message::Welcome(welcome)).await?;
        // Accounts first: a revocation is more urgent than any configuration.
        self.send_accounts(self.accounts.difference(&hello.account_digests), outbox).await?;
        self.begin_commit();
        loop {
            tokio::select! {
                // One chunk a turn, and the last of all: what is urgent goes between two of them.
                biased;
                () = shutdown.draining() => return self.goaway(outbox).await,
                () = outbox.closed() => return Ok(()),
                changed = views.changed() => {
                    changed.map_err(|_| Closed)?;
                    self.follow(outbox).await?;
                }
                message = incoming.message() => match message {
                    Ok(Some(SyncRequest { message: Some(message) })) => self.take(message)?,
                    // A message that a newer build knows.
                    Ok(Some(SyncRequest { message: None })) => {}
                    Ok(None) | Err(_) => return Ok(()),
                },
                // A turn lasts as long as there are chunks: until then the body is in memory.
                () = self.turn.changed(), if self.chunks.is_none() => self.begin_commit(),
                place = room(outbox, self.chunks.as_ref()) => match place {
                    Ok(place) => self.send_chunk(place),
                    Err(closed) => {
                        tracing::warn!(node = %self.name, "a commit is taken too slowly; the stream ends");
                        return Err(closed);
                    }
                },
            }
        }
    }

    /// An answer ends what is on its way, also one that comes too early: what follows begins with a first chunk, and there the
    /// node begins anew.
    fn take(&mut self, message: sync_request::Message) -> Result<(), Closed> {
        match message {
            // Only the first one says anything.
            sync_request::Message::Hello(_) => return Err(Closed),
            sync_request::Message::Ack(ack) => {
                self.held = CommitId(ack.commit);
                self.digest = Digest::from_slice(&ack.digest);
                self.refused = None;
                self.shared.fleet.answered(&self.name, self.held, None);
                let meant = self.sent.as_ref().filter(|sent| sent.id == self.held);
                if meant.is_some_and(|meant| self.digest != Some(meant.digest)) {
                    // Sending it again would not help; the fleet shows the divergence until the next commit.
                    self.refused = self.sent.take();
                    tracing::error!(node = %self.name, commit = ack.commit, "node serves something else than its commit");
                } else {
                    tracing::info!(node = %self.name, commit = ack.commit, applied_us = ack.applied_us, "commit applied");
                }
            }
            sync_request::Message::Nack(nack) => {
                let texts: Vec<&str> = nack.faults.iter().map(|fault| fault.text.as_str()).collect();
                // Not again on this stream.
                self.refused = self.sent.take().filter(|sent| sent.id.0 == nack.commit);
                if asks_for_whole(&nack) {
                    tracing::info!(node = %self.name, commit = nack.commit, why = ?texts, "commit asked for whole");
                } else {
                    tracing::warn!(node = %self.name, commit = nack.commit, faults = ?texts, "commit refused");
                    self.shared.metrics.nacks.inc();
                    self.shared.fleet.answered(&self.name, CommitId(nack.commit), Some(nack.faults));
                }
            }
        }
        self.shared.fleet.awaits(&self.name, self.session, None);
        (self.sent, self.chunks) = (None, None);
        self.turn = Turn::None;
        self.begin_commit();
        Ok(())
    }

    async fn follow(&mut self, outbox: &Outbox<SyncResponse>) -> Result<(), Closed> {
        let accounts = self.shared.mirror.view().accounts.clone();
        if !Arc::ptr_eq(&accounts, &self.accounts) {
            let update = accounts.changes_since(&self.accounts);
            self.accounts = accounts;
            self.send_accounts(update, outbox).await?;
        }
        self.begin_commit();
        Ok(())
    }

    async fn send_accounts(&self, update: AccountUpdate, outbox: &Outbox<SyncResponse>) -> Result<(), Closed> {
        if update == AccountUpdate::default() {
            return Ok(());
        }
        send(outbox, sync_response::Message::Accounts(update)).await
    }

    /// Sees to it that the node gets what it should have, once it has answered what it was sent before.
    fn begin_commit(&mut self) {
        let view = self.shared.mirror.view();
        let Some(target) = view.target(self.cell.as_ref()) else { return };
        if self.sent.is_some() || self.refused.as_ref() == Some(target) {
            return;
        }
        if self.held == target.id && self.digest == Some(target.digest) {
            self.turn = Turn::None;
            return;
        }
        // Only what we know to be what the node holds can be a base.
        let base = transfer::base(&view, self.held, self.digest);
        if base.is_some() {
            self.turn = Turn::None;
        } else if !self.turn.asks(&self.shared.whole_turns) {
            return;
        }
        self.chunks = Some(transfer::to_target(target, self.held, base.as_deref()));
        self.sent = Some(target.clone());
        self.shared.fleet.awaits(&self.name, self.session, Some(target.id));
    }

    fn send_chunk(&mut self, place: Place<'_, SyncResponse>) {
        match self.chunks.as_mut().and_then(Iterator::next) {
            Some(chunk) => place.send(Ok(SyncResponse { message: Some(sync_response::Message::Commit(chunk)) })),
            None => self.chunks = None,
        }
    }

    async fn goaway(&self, outbox: &Outbox<SyncResponse>) -> Result<(), Closed> {
        let wait = meridian_host::jitter(&*self.shared.host.entropy, RECONNECT);
        let goaway = Goaway {
            reason: "the replica is stopping".to_owned(),
            reconnect_after_ms: u32::try_from(wait.as_millis()).unwrap_or(0),
        };
        send(outbox, sync_response::Message::Goaway(goaway)).await
    }
}

/// Waits for a place for the next chunk; for ever if there is none.
async fn room<'a>(
    outbox: &'a Outbox<SyncResponse>,
    chunks: Option<&Chunks>,
) -> Result<Place<'a, SyncResponse>, Closed> {
    match chunks {
        Some(chunks) => outbox.empty(chunks.overdue()).await,
        None => std::future::pending().await,
    }
}

/// Whether only the pieces did not fit, together or to what the node holds: that is no verdict on the commit, and must hold up
/// no rollout. The node ends the stream and comes back for all of it.
fn asks_for_whole(nack: &Nack) -> bool {
    let conflict = ErrorCode::Conflict.as_str();
    !nack.faults.is_empty() && nack.faults.iter().all(|fault| fault.code == conflict)
}

async fn send(outbox: &Outbox<SyncResponse>, message: sync_response::Message) -> Result<(), Closed> {
    outbox.send(SyncResponse { message: Some(message) }).await
}
