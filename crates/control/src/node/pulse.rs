//! One pulse stream: beats in, echoes out, and with them the plan, the peers, and questions to the node.

use std::sync::Arc;
use std::time::Duration;

use meridian_identity::Identity;
use meridian_proto::node::v1::{Beat, BeatReply, OutageList, Peer as NodePeer, PeerList, Query};
use meridian_proto::transport::Peer;
use meridian_store::Revision;
use meridian_types::{NodeName, PlanId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::outbox::{Closed, Outbox};
use super::questions::Questions;
use crate::fleet::{Ask, Asks, Refusal};
use crate::shared::Shared;
use crate::view::View;
use crate::{faults, switches};

/// Without a beat for this long the stream ends; the node was taken for lost long before.
const SILENT: Duration = Duration::from_secs(30);

/// Outages are told again after this long, for a node that does not hear of them for three times as long forgets them.
const AGAIN: Duration = Duration::from_secs(2);

/// A node that is asked to look does so for two seconds; meanwhile it is not asked again.
const LOOKS: Duration = Duration::from_secs(1);

/// Why a stream ends.
enum End {
    /// The node is gone, or closed it.
    Quiet,
    /// The node is told.
    Told(Status),
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Quiet
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Told(match refusal {
            Refusal::Identity(_) => Status::invalid_argument(refusal.to_string()),
            Refusal::Superseded { .. } => Status::failed_precondition(refusal.to_string()),
        })
    }
}

/// Serves the stream until it ends.
pub(super) async fn run(
    shared: Arc<Shared>,
    peer: Peer<Identity>,
    mut incoming: Streaming<Beat>,
    outbox: Outbox<BeatReply>,
) {
    let first = match tokio::time::timeout(SILENT, incoming.message()).await {
        Ok(Ok(Some(beat))) => beat,
        _ => return,
    };
    let Some(identity) = first.identity.clone() else {
        return outbox.fail(Status::invalid_argument("the first beat must carry an identity")).await;
    };
    if let Err(status) = shared.access.node(&peer, &identity) {
        return outbox.fail(status).await;
    }
    let (asks, asked) = Asks::new();
    let (name, session) = match shared.fleet.open_pulse(identity, asks) {
        Ok(opened) => opened,
        Err(refusal) => {
            if let End::Told(status) = refusal.into() {
                outbox.fail(status).await;
            }
            return;
        }
    };
    tracing::info!(node = %name, peer = %peer.address, "pulse began");
    let view = shared.mirror.view();
    // Before the first commit no region is; that is no news.
    if let Some(node) = shared.fleet.nodes().get(&name)
        && view.head.is_some()
        && !view.is_configured(&node.region)
    {
        tracing::warn!(node = %name, region = %node.region, "region is not configured: the node is not judged, and gets no traffic");
    }
    let mut lane = PulseLane {
        shared: shared.clone(),
        peer,
        name: name.clone(),
        session,
        sequence: 0,
        plan: None,
        peers: None,
        faults: None,
        switches: None,
        outages: None,
        look: false,
        looked: None,
        questions: Questions::default(),
    };
    let end = lane.serve(first, &mut incoming, asked, &outbox).await;
    shared.fleet.close_pulse(&name, session, matches!(end, End::Quiet));
    tracing::info!(node = %name, "pulse ended");
    if let End::Told(status) = end {
        outbox.fail(status).await;
    }
}

struct PulseLane {
    shared: Arc<Shared>,
    peer: Peer<Identity>,
    name: NodeName,
    session: u64,
    /// Of the last beat.
    sequence: u64,
    /// What was sent on this stream.
    plan: Option<PlanId>,
    peers: Option<Arc<Vec<NodePeer>>>,
    faults: Option<(u64, Revision)>,
    switches: Option<(u64, Revision)>,
    /// Which list, and when.
    outages: Option<((u64, Revision), Instant)>,
    /// The next reply asks for a look at the peers.
    look: bool,
    /// When one did.
    looked: Option<Instant>,
    questions: Questions,
}

impl PulseLane {
    async fn serve(
        &mut self,
        first: Beat,
        incoming: &mut Streaming<Beat>,
        mut asked: mpsc::Receiver<Ask>,
        outbox: &Outbox<BeatReply>,
    ) -> End {
        let mut views = self.shared.mirror.subscribe();
        let mut lost = self.shared.fleet.lost();
        let shutdown = self.shared.shutdown.clone();
        if let Err(end) = self.take(first, outbox) {
            return end;
        }
        loop {
            let step = tokio::select! {
                beat = tokio::time::timeout(SILENT, incoming.message()) => match beat {
                    Ok(Ok(Some(beat))) => self.take(beat, outbox),
                    Ok(Ok(None) | Err(_)) | Err(_) => Err(End::Quiet),
                },
                // A new plan does not wait for the next beat.
                changed = views.changed() => match changed {
                    Ok(()) => self.hurry(outbox),
                    Err(_) => Err(End::Quiet),
                },
                lost = lost.recv() => match lost {
                    Ok(name) => self.look_for(Some(&name), outbox),
                    Err(RecvError::Lagged(_)) => self.look_for(None, outbox),
                    Err(RecvError::Closed) => Err(End::Quiet),
                },
                Some(ask) = asked.recv() => {
                    let query = self.questions.put(ask);
                    self.reply(vec![query], outbox)
                }
                () = outbox.closed() => Err(End::Quiet),
                () = shutdown.draining() => Err(End::Told(Status::unavailable("the replica is stopping"))),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn take(&mut self, mut beat: Beat, outbox: &Outbox<BeatReply>) -> Result<(), End> {
        self.shared.metrics.beats.inc();
        if let Some(identity) = &beat.identity {
            self.shared.access.node(&self.peer, identity).map_err(End::Told)?;
        }
        self.sequence = beat.sequence;
        self.questions.take(std::mem::take(&mut beat.replies));
        let view = self.shared.mirror.view();
        if !self.shared.fleet.beat(&self.name, self.session, beat, &view)? {
            return Err(End::Told(Status::failed_precondition("a later start of this node is connected")));
        }
        self.reply(Vec::new(), outbox)
    }

    fn hurry(&mut self, outbox: &Outbox<BeatReply>) -> Result<(), End> {
        let view = self.shared.mirror.view();
        let newest = view.plan.as_ref().map(|published| published.plan.id);
        let operated = self.faults != Some(injected(&view)) || self.switches != Some(switched(&view));
        let news = newest > self.plan || operated || self.outages_are_due(&view);
        if news { self.reply(Vec::new(), outbox) } else { Ok(()) }
    }

    /// A process that dies takes its connection along, long before its silence means anything: its peers find out at once.
    /// `None`: whoever it is.
    fn look_for(&mut self, lost: Option<&NodeName>, outbox: &Outbox<BeatReply>) -> Result<(), End> {
        let is_peer = |lost: &NodeName| {
            self.peers.as_ref().is_some_and(|peers| peers.iter().any(|peer| peer.node == lost.as_str()))
        };
        if self.looked.is_some_and(|at| at.elapsed() < LOOKS) || !lost.is_none_or(is_peer) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        self.look = true;
        self.reply(Vec::new(), outbox)
    }

    /// Whether to tell the outages now. Those that nobody judges any more are not told again.
    fn outages_are_due(&self, view: &View) -> bool {
        let is_judged = self.shared.is_led(view);
        match self.outages {
            _ if !view.is_loaded() => false,
            Some((sent, at)) if sent == outages(view) => {
                is_judged && !view.outages.list.is_empty() && at.elapsed() >= AGAIN
            }
            _ => is_judged || view.outages.list.is_empty(),
        }
    }

    fn reply(&mut self, queries: Vec<Query>, outbox: &Outbox<BeatReply>) -> Result<(), End> {
        let view = self.shared.mirror.view();
        let newer = view.plan.as_ref().filter(|published| Some(published.plan.id) > self.plan);
        let peers = self.shared.roster.peers_of(&self.name, &self.shared.fleet, &view.nodes);
        let injected = injected(&view);
        let switched = switched(&view);
        let outages_due = self.outages_are_due(&view);
        // Before the store is read the fleet is whoever happens to pulse here: a list of these would take from nodes what
        // they know of the others.
        let has_peers = view.is_loaded() && (newer.is_some() || self.peers.as_ref() != Some(&peers));
        let reply = BeatReply {
            sequence_echo: self.sequence,
            replica: self.shared.replica.clone(),
            plan: newer.map(|published| (*published.message).clone()),
            cluster_id: view.cluster_id,
            peers: has_peers.then(|| PeerList { peers: (*peers).clone() }),
            queries,
            faults: (self.faults != Some(injected)).then(|| faults::list(&view, self.shared.now_unix_ms())),
            outages: outages_due.then(|| OutageList {
                epoch: view.epoch,
                revision: view.outages.revision.0,
                outages: view.outages.list.clone(),
            }),
            leaderless: !self.shared.is_led(&view),
            look: self.look,
            switches: (self.switches != Some(switched)).then(|| switches::list(&view, self.shared.now_unix_ms())),
        };
        // A node that does not read misses echoes, which tells it something; the plan is sent again. A question is not:
        // who asked is told in time.
        if outbox.offer(reply)? {
            self.plan = newer.map(|published| published.plan.id).or(self.plan);
            if has_peers {
                self.peers = Some(peers);
            }
            self.faults = Some(injected);
            self.switches = Some(switched);
            self.look = false;
            if outages_due {
                self.outages = Some((outages(&view), Instant::now()));
            }
        }
        Ok(())
    }
}

/// Which list of outages the view holds.
fn outages(view: &View) -> (u64, Revision) {
    (view.epoch, view.outages.revision)
}

/// Which list of switches the view holds.
fn switched(view: &View) -> (u64, Revision) {
    (view.epoch, view.switches_revision)
}

/// Which list of injected faults the view holds.
fn injected(view: &View) -> (u64, Revision) {
    (view.epoch, view.faults_revision)
}
