//! The Pulse lane: beats up, plans down, one stream to every replica.
//!
//! One [`Hub`] takes the node's pulse, so that every replica hears the same and rates are counted once; a session per
//! replica carries it. What comes down goes back to the hub, which alone decides which plan is the newest.

mod echo;
mod questions;
mod session;

use std::sync::Arc;
use std::time::Duration;

use meridian_proto::node::v1;
use meridian_proto::{convert, fleet};
use tokio::sync::{broadcast, mpsc};
use tokio::time::MissedTickBehavior;

pub(crate) use session::Session;

use crate::handle::Shared;
use crate::held::HeldSwitches;
use crate::metrics::{Metrics, Outcome};
use crate::{Options, Peer, Vitals};

/// Between beats.
pub(crate) const BEAT: Duration = Duration::from_millis(250);
/// Every so many beats carry a report.
const REPORT_EVERY: u32 = 4;
/// Ticks that a session may be late: 2 s, when it is dead by its echoes anyway.
const TICKS: usize = 8;
/// What came down and was not looked at yet: a few from each of five replicas. A full channel makes the session wait.
const WAITING: usize = 32;

/// The node's pulse at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Tick {
    vitals: Vitals,
    report: Option<Arc<v1::Report>>,
}

/// What a replica sent down.
#[derive(Debug)]
pub(crate) enum Down {
    Plan(fleet::v1::Plan),
    Peers(v1::PeerList),
    Faults(v1::FaultList),
    Switches(v1::SwitchList),
    Outages(v1::OutageList),
    Look,
}

/// Takes the pulse, and obeys what comes down.
pub(crate) struct Hub {
    options: Options,
    shared: Arc<Shared>,
    metrics: Metrics,
    ticks: broadcast::Sender<Tick>,
    down: mpsc::Receiver<Down>,
    peers: Option<Arc<[Peer]>>,
}

impl Hub {
    /// The hub, and one session for each replica.
    pub(crate) fn new(options: &Options, shared: &Arc<Shared>, metrics: &Metrics) -> (Self, Vec<Session>) {
        let (down_sender, down) = mpsc::channel(WAITING);
        let ticks = broadcast::Sender::new(TICKS);
        let session = |index| Session {
            options: options.clone(),
            index,
            shared: shared.clone(),
            metrics: metrics.clone(),
            ticks: ticks.subscribe(),
            down: down_sender.clone(),
        };
        let sessions = (0..options.endpoints.len()).map(session).collect();
        let (options, shared, metrics) = (options.clone(), shared.clone(), metrics.clone());
        (Self { options, shared, metrics, ticks, down, peers: None }, sessions)
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_report = 0;
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                () = self.shared.report_now.notified() => until_report = 0,
                // The hub lives as long as its sessions: with all of them gone only the pulse is left to take.
                Some(down) = self.down.recv() => {
                    match down {
                        Down::Plan(plan) => self.offer_plan(&plan),
                        Down::Peers(peers) => self.set_peers(&peers),
                        Down::Faults(faults) => self.options.serving.faults(&faults),
                        Down::Switches(list) => self.set_switches(list),
                        Down::Outages(outages) => self.options.serving.outages(&outages),
                        Down::Look => self.options.serving.look(),
                    }
                    continue;
                }
            }
            let report = (until_report == 0).then(|| Arc::new(self.options.serving.report()));
            until_report = if until_report == 0 { REPORT_EVERY - 1 } else { until_report - 1 };
            // With no replica configured nobody listens.
            let _ = self.ticks.send(Tick { vitals: self.options.serving.vitals(), report });
        }
    }

    /// Obeys a plan that is newer than the one held and keeps its promises. Replicas repeat the plan, and one that
    /// lags sends an older one: both are normal and change nothing.
    fn offer_plan(&self, message: &fleet::v1::Plan) {
        let plan = match convert::plan(message) {
            Ok(plan) => Arc::new(plan),
            Err(error) => {
                self.metrics.plans.get_or_create(&Outcome::REFUSED).inc();
                tracing::error!(epoch = message.epoch, number = message.number, error, "plan refused");
                return;
            }
        };
        let held = self.shared.held.borrow().plan.as_ref().map(|plan| plan.id);
        if held == Some(plan.id) {
            return;
        }
        if held > Some(plan.id) {
            self.metrics.plans.get_or_create(&Outcome::REFUSED).inc();
            tracing::debug!(plan = %plan.id, ?held, by = plan.made_by, "older plan refused");
            return;
        }
        self.metrics.plans.get_or_create(&Outcome::DONE).inc();
        tracing::info!(plan = %plan.id, by = plan.made_by, reason = plan.reason, "new plan");
        self.options.serving.plan(plan.clone());
        self.shared.held.send_modify(|held| held.plan = Some(plan));
    }

    /// Obeys a list that is newer than the one held; every replica sends the same, and one that lags an older one. The first
    /// one's times hold.
    fn set_switches(&self, list: v1::SwitchList) {
        let told = HeldSwitches { list, heard_at_unix_ms: self.options.host.clock.now_unix_ms() };
        let held = self.shared.held.borrow().switches.as_ref().map_or((0, 0), |held| held.order());
        let is_news = held < told.order();
        if is_news {
            self.options.serving.switches(&told.list);
            self.shared.held.send_modify(|held| held.switches = Some(Arc::new(told)));
        }
    }

    fn set_peers(&mut self, list: &v1::PeerList) {
        let mut peers: Vec<Peer> = list.peers.iter().filter_map(|peer| self.read_peer(peer)).collect();
        peers.sort();
        if self.peers.as_deref() != Some(&*peers) {
            let peers: Arc<[Peer]> = peers.into();
            self.peers = Some(peers.clone());
            self.shared.held.send_modify(|held| held.peers = Some(peers.clone()));
            self.options.serving.peers(peers);
        }
    }

    fn read_peer(&self, message: &v1::Peer) -> Option<Peer> {
        match Peer::try_from(message) {
            Ok(peer) => (peer.node != self.options.identity.name).then_some(peer),
            Err(error) => {
                tracing::warn!(%error, "peer passed over");
                None
            }
        }
    }
}
