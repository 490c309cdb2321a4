//! One Sync stream, from its hello to its end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use meridian_proto::accounts::Accounts;
use meridian_proto::node::v1;
use meridian_proto::node::v1::node_service_client::NodeServiceClient;
use meridian_proto::node::v1::{sync_request, sync_response};
use meridian_proto::{MAX_MESSAGE_BYTES, PROTO_VERSIONS};
use meridian_types::Digest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::apply::{Applier, Refusal};
use super::assemble::Assembler;
use crate::Options;
use crate::handle::Shared;
use crate::held::HeldAccounts;
use crate::keeper::Flush;
use crate::metrics::{Metrics, Outcome};

/// The replica says welcome within this time after it took the connection.
const WELCOME_DEADLINE: Duration = Duration::from_secs(5);
/// Between two chunks of one commit.
const CHUNK_DEADLINE: Duration = Duration::from_secs(10);
/// The lane may be quiet for hours. But where the pulse to the same replica came and then went for this long, the
/// quiet is no peace: another replica is asked.
const SUSPECT: Duration = Duration::from_secs(3);
/// A replica that got a Nack and the end of the stream has read both within this time.
const LINGER: Duration = Duration::from_secs(1);
/// A disk that refuses for this long does not keep the node from what comes next: a replica sends no other commit before the
/// Ack, and a full disk must not freeze a node's configuration.
const DISK_PATIENCE: Duration = Duration::from_secs(30);
/// Answers that wait to be written.
const OUTBOX: usize = 32;

/// Why a stream ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The replica is about to stop.
    Goaway { reason: String, after: Duration },
    /// What is held and what was sent do not fit together.
    NeedsWhole,
    /// Anything else, in words.
    Failed(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goaway { reason, .. } => write!(f, "goaway: {reason}"),
            Self::NeedsWhole => f.write_str("the whole commit is needed"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// What a stream works with.
pub(crate) struct Session<'a> {
    pub(crate) options: &'a Options,
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) metrics: &'a Metrics,
    pub(crate) applier: &'a Arc<Applier>,
    pub(crate) flush: &'a Flush,
    /// Which of the endpoints.
    pub(crate) index: usize,
    /// Whether to claim that nothing is held; cleared when a commit was applied.
    pub(crate) ask_whole: &'a mut bool,
}

/// What is under way on a stream.
struct Work {
    outbox: mpsc::Sender<v1::SyncRequest>,
    assembler: Assembler,
    /// The commit that is being applied: it may wait for a disk, and accounts must not.
    applying: Option<Pin<Box<dyn Future<Output = Applied> + Send>>>,
    /// The Ack that is sent once the file is written. A newer commit replaces it: only the newest pin counts.
    ack: Option<Pin<Box<dyn Future<Output = Option<v1::Ack>> + Send>>>,
}

/// What became of a commit.
struct Applied {
    commit: u64,
    /// That its content should have; `None`: it did not come whole.
    digest: Option<Digest>,
    /// Microseconds that it took.
    outcome: Result<u64, Refusal>,
}

impl Session<'_> {
    /// Runs the stream to its end.
    pub(crate) async fn run(&mut self, channel: Channel) -> Ended {
        let (outbox, requests) = mpsc::channel(OUTBOX);
        if outbox.try_send(request(sync_request::Message::Hello(self.hello()))).is_err() {
            return Ended::Failed("the stream cannot be opened".to_owned());
        }
        let mut client = NodeServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let opening = async {
            let mut responses = client.sync(ReceiverStream::new(requests)).await?.into_inner();
            let first = responses.message().await?;
            Ok::<_, tonic::Status>((responses, first))
        };
        let responses = match tokio::time::timeout(WELCOME_DEADLINE, opening).await {
            Err(_) => return Ended::Failed("no welcome in time".to_owned()),
            Ok(Err(status)) => return Ended::Failed(status.to_string()),
            Ok(Ok((responses, first))) => match first.and_then(|first| first.message) {
                Some(sync_response::Message::Welcome(welcome)) if PROTO_VERSIONS.contains(&welcome.proto) => {
                    if let Err(foreign) = self.shared.join(welcome.cluster_id) {
                        let endpoint = self.options.endpoints.get(self.index).map(String::as_str);
                        tracing::error!(endpoint, replica = welcome.replica, "refused: {foreign}");
                        return Ended::Failed(foreign.to_string());
                    }
                    self.metrics.sync_sessions.inc();
                    tracing::info!(replica = welcome.replica, proto = welcome.proto, "sync opened");
                    responses
                }
                Some(sync_response::Message::Welcome(welcome)) => {
                    return Ended::Failed(format!("the replica speaks version {}, this build does not", welcome.proto));
                }
                Some(sync_response::Message::Goaway(goaway)) => return goaway_ended(goaway),
                _ => return Ended::Failed("the first message was no welcome".to_owned()),
            },
        };
        let work = Work { outbox, assembler: Assembler::default(), applying: None, ack: None };
        self.converse(responses, work).await
    }

    fn hello(&self) -> v1::Hello {
        let held = self.shared.held.borrow();
        // Only what is really served counts as held: a node whose state went wrong is healed by the whole commit.
        let served = self.options.serving.vitals().served;
        let commit = held.commit.as_ref().filter(|commit| {
            !*self.ask_whole
                && served.is_some_and(|served| served.commit == commit.id && served.digest == commit.digest)
        });
        let plan = held.plan.as_ref().map(|plan| plan.id).unwrap_or_default();
        v1::Hello {
            proto_min: *PROTO_VERSIONS.start(),
            proto_max: *PROTO_VERSIONS.end(),
            identity: Some((&self.options.identity).into()),
            commit_held: commit.map_or(0, |commit| commit.id.0),
            digest_held: commit.map(|commit| commit.digest.as_bytes().to_vec().into()).unwrap_or_default(),
            account_digests: held
                .accounts
                .as_ref()
                .map(|held| held.accounts.bucket_digests().into())
                .unwrap_or_default(),
            plan_epoch_held: plan.epoch,
            plan_number_held: plan.number,
        }
    }

    async fn converse(&mut self, mut responses: Streaming<v1::SyncResponse>, mut work: Work) -> Ended {
        let ended = self.serve(&mut responses, &mut work).await;
        // The next hello says what is held then, and the replica goes by that; an answer does not matter any more.
        let _ = self.finish(&mut work).await;
        if matches!(ended, Ended::NeedsWhole) {
            // To drop a stream is to reset it, and the Nack with it: half-close, and let the replica read.
            drop(work);
            let rest = async { while let Ok(Some(_)) = responses.message().await {} };
            let _ = tokio::time::timeout(LINGER, rest).await;
        }
        ended
    }

    async fn serve(&mut self, responses: &mut Streaming<v1::SyncResponse>, work: &mut Work) -> Ended {
        let suspicion = suspicion(self.shared.clone(), self.index);
        tokio::pin!(suspicion);
        loop {
            let chunk_overdue = async {
                if work.assembler.is_open() {
                    tokio::time::sleep(CHUNK_DEADLINE).await;
                } else {
                    std::future::pending().await
                }
            };
            let ack = async {
                match &mut work.ack {
                    Some(ack) => ack.await,
                    None => std::future::pending().await,
                }
            };
            let applied = async {
                match &mut work.applying {
                    Some(applying) => applying.await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => self.obey(response, work).await,
                    Ok(None) => Some(Ended::Failed("the replica ended the stream".to_owned())),
                    Err(status) => Some(Ended::Failed(status.to_string())),
                },
                applied = applied => {
                    work.applying = None;
                    self.answer(applied, work).await
                }
                written = ack => {
                    work.ack = None;
                    match written {
                        Some(ack) => work.send(sync_request::Message::Ack(ack)).await,
                        None => None,
                    }
                },
                () = chunk_overdue => Some(Ended::Failed("a commit's next chunk did not come".to_owned())),
                () = &mut suspicion => Some(Ended::Failed("the pulse to this replica is gone".to_owned())),
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    async fn obey(&mut self, response: v1::SyncResponse, work: &mut Work) -> Option<Ended> {
        match response.message {
            Some(sync_response::Message::Commit(chunk)) => {
                // A replica sends no other commit before the answer. For one that does, this keeps the order.
                let ended = self.finish(work).await;
                if ended.is_some() { ended } else { self.take_chunk(&chunk, work).await }
            }
            Some(sync_response::Message::Accounts(update)) => {
                self.take_accounts(&update);
                None
            }
            Some(sync_response::Message::Goaway(goaway)) => Some(goaway_ended(goaway)),
            Some(sync_response::Message::Welcome(_)) => Some(Ended::Failed("welcomed twice".to_owned())),
            // A message of a newer build; what it means was not agreed on, so it asks for nothing.
            None => None,
        }
    }

    async fn take_chunk(&mut self, chunk: &v1::CommitChunk, work: &mut Work) -> Option<Ended> {
        let commit = chunk.commit;
        match work.assembler.take(chunk) {
            Ok(None) => None,
            Ok(Some(body)) => {
                let (applier, digest) = (self.applier.clone(), Digest::from_slice(&body.digest));
                let applying = async move { Applied { commit, digest, outcome: applier.apply(body).await } };
                work.applying = Some(Box::pin(applying));
                None
            }
            Err(error) => {
                let refused = Applied { commit, digest: None, outcome: Err(Refusal::whole(error.to_string())) };
                self.answer(refused, work).await
            }
        }
    }

    /// Waits for the commit that is being applied, if there is one.
    async fn finish(&mut self, work: &mut Work) -> Option<Ended> {
        let applied = work.applying.take()?.await;
        self.answer(applied, work).await
    }

    async fn answer(&mut self, applied: Applied, work: &mut Work) -> Option<Ended> {
        let Applied { commit, digest, outcome } = applied;
        match outcome {
            Ok(applied_us) => {
                self.metrics.commits.get_or_create(&Outcome::DONE).inc();
                self.metrics.commit.set(commit);
                tracing::info!(commit, applied_us, "commit applied");
                *self.ask_whole = false;
                self.shared.refused.send_replace(None);
                work.ack = Some(Box::pin(self.ack(commit, applied_us)));
                None
            }
            Err(Refusal { faults, needs_whole }) => {
                self.metrics.commits.get_or_create(&Outcome::REFUSED).inc();
                let first = faults.first().map(|fault| fault.text.as_str());
                tracing::warn!(commit, faults = faults.len(), first, "commit refused; staying on the one before");
                // What came in pieces that do not fit is asked for again: that is nobody's mistake.
                if !needs_whole {
                    self.shared.refused.send_replace(Some((commit, digest, first.unwrap_or_default().to_owned())));
                    self.shared.report_now.notify_one();
                }
                let sent = work.send(sync_request::Message::Nack(v1::Nack { commit, faults })).await;
                if needs_whole { Some(Ended::NeedsWhole) } else { sent }
            }
        }
    }

    /// The Ack, once the file is written or the disk has refused for too long, with the digest of what is then really served.
    fn ack(&self, commit: u64, applied_us: u64) -> impl Future<Output = Option<v1::Ack>> + Send + 'static {
        let (flush, serving) = (self.flush.clone(), self.options.serving.clone());
        async move {
            match tokio::time::timeout(DISK_PATIENCE, flush.written()).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => tracing::error!(
                    commit,
                    "acknowledged, though no last-known-good file has it: the disk refuses, and a restart finds an older one"
                ),
            }
            let digest = serving.vitals().served.map(|served| served.digest.as_bytes().to_vec().into());
            Some(v1::Ack { commit, digest: digest.unwrap_or_default(), applied_us })
        }
    }

    fn take_accounts(&self, update: &v1::AccountUpdate) {
        let held = self.shared.held.borrow().accounts.clone();
        let mut accounts = held.map(|held| Accounts::clone(&held.accounts)).unwrap_or_default();
        for fault in accounts.apply(update) {
            tracing::error!(fault, "account left out");
        }
        self.metrics.account_updates.inc();
        let accounts = Arc::new(accounts);
        self.options.serving.accounts(accounts.clone());
        self.shared.held.send_modify(|held| held.accounts = Some(HeldAccounts::new(accounts)));
    }
}

impl Work {
    /// Sends to the replica; one that does not read any more ends the stream.
    fn send(&self, message: sync_request::Message) -> impl Future<Output = Option<Ended>> + Send + 'static {
        let outbox = self.outbox.clone();
        async move {
            let sent = tokio::time::timeout(WELCOME_DEADLINE, outbox.send(request(message))).await;
            (!matches!(sent, Ok(Ok(())))).then(|| Ended::Failed("the replica does not read".to_owned()))
        }
    }
}

fn request(message: sync_request::Message) -> v1::SyncRequest {
    v1::SyncRequest { message: Some(message) }
}

fn goaway_ended(goaway: v1::Goaway) -> Ended {
    Ended::Goaway { reason: goaway.reason, after: Duration::from_millis(goaway.reconnect_after_ms.into()) }
}

/// Resolves when the pulse to replica `index` was up and then was not for [`SUSPECT`].
async fn suspicion(shared: Arc<Shared>, index: usize) {
    let mut links = shared.links.subscribe();
    let is_up = |links: &crate::handle::Links| links.sessions.get(index).is_some_and(|session| session.state.is_up());
    loop {
        // The sender lives in `shared`, so the channel does not close.
        let _ = links.wait_for(|links| is_up(links)).await;
        let _ = links.wait_for(|links| !is_up(links)).await;
        if tokio::time::timeout(SUSPECT, links.wait_for(|links| is_up(links))).await.is_err() {
            return;
        }
    }
}
