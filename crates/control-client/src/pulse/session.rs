//! The pulse to one replica: connect, beat, watch the echoes, connect again.

use std::sync::Arc;
use std::time::Duration;

use meridian_proto::node::v1;
use meridian_proto::node::v1::node_service_client::NodeServiceClient;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::echo::Echoes;
use super::questions::Questions;
use super::{BEAT, Down, Tick};
use crate::Options;
use crate::backoff::Backoff;
use crate::dial::dial;
use crate::handle::{SessionState, Shared};
use crate::metrics::{Metrics, Outcome};

/// Waits between attempts stay below this. Lower than for configuration: a beat stream is cheap to open, and until it
/// is open the replica does not know that the node lives.
const BACKOFF_LIMIT: Duration = Duration::from_secs(4);
/// A replica that has accepted the connection answers the call within this time.
const OPEN_DEADLINE: Duration = Duration::from_secs(2);
/// Beats that wait to be written. More than a few mean that nothing flows, which the missing echoes tell.
const OUTBOX: usize = 4;

/// Keeps the pulse to one replica.
pub(crate) struct Session {
    pub(crate) options: Options,
    /// Which of the endpoints.
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Metrics,
    pub(crate) ticks: broadcast::Receiver<Tick>,
    pub(crate) down: mpsc::Sender<Down>,
}

/// Why a stream ended.
enum Ended {
    /// Beats did not come back.
    Silent,
    /// By the replica or the network, in words.
    Closed(String),
    /// The service is gone.
    Stopped,
}

impl Session {
    /// Runs until the service stops.
    pub(crate) async fn run(mut self) {
        let Some(endpoint) = self.options.endpoints.get(self.index).cloned() else { return };
        let mut backoff = Backoff::new(BACKOFF_LIMIT);
        loop {
            match dial(&endpoint, self.options.tls.clone(), &self.options.host).await {
                Ok(channel) => match self.keep(channel, &mut backoff).await {
                    Ended::Silent => {
                        self.metrics.pulse_ended.get_or_create(&Outcome::SILENT).inc();
                        self.note(SessionState::Silent, "beats do not come back");
                    }
                    Ended::Closed(why) => {
                        self.metrics.pulse_ended.get_or_create(&Outcome::CLOSED).inc();
                        self.note(SessionState::Unreachable, &why);
                    }
                    Ended::Stopped => return,
                },
                Err(error) => {
                    let cause = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
                    self.note(SessionState::Unreachable, &cause);
                }
            }
            tokio::time::sleep(backoff.wait(&*self.options.host.entropy)).await;
        }
    }

    /// One stream, from its first beat to its end.
    async fn keep(&mut self, channel: Channel, backoff: &mut Backoff) -> Ended {
        let mut echoes = Echoes::new();
        let (outbox, beats) = mpsc::channel(OUTBOX);
        // Only what is new from now on: a report may have been sent to this replica before the stream broke.
        self.ticks = self.ticks.resubscribe();
        let tick = Tick { vitals: self.options.serving.vitals(), report: None };
        let first = v1::Beat { identity: Some((&self.options.identity).into()), ..self.beat(&mut echoes, tick) };
        if outbox.try_send(first).is_err() {
            return Ended::Stopped;
        }
        let mut client = NodeServiceClient::new(channel).max_decoding_message_size(meridian_proto::MAX_MESSAGE_BYTES);
        let opening = client.pulse(ReceiverStream::new(beats));
        let mut replies = match tokio::time::timeout(OPEN_DEADLINE, opening).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Ended::Closed(status.to_string()),
            Err(_) => return Ended::Silent,
        };
        self.converse(&mut replies, &outbox, &mut echoes, backoff).await
    }

    async fn converse(
        &mut self,
        replies: &mut Streaming<v1::BeatReply>,
        outbox: &mpsc::Sender<v1::Beat>,
        echoes: &mut Echoes,
        backoff: &mut Backoff,
    ) -> Ended {
        // The clock that finds silence is not the one that beats: it must go on if the hub does not.
        let mut look = tokio::time::interval(BEAT / 2);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut questions = Questions::default();
        loop {
            tokio::select! {
                // Replies first: after a pause of this process they are all there, and prove the replica right.
                biased;
                reply = replies.message() => match reply {
                    Ok(Some(mut reply)) => {
                        if let Err(foreign) = self.shared.join(reply.cluster_id) {
                            return Ended::Closed(foreign.to_string());
                        }
                        self.lead(reply.leaderless);
                        if let Some(round_trip) = echoes.echoed(reply.sequence_echo) {
                            backoff.reset();
                            self.metrics.round_trip.observe(round_trip.as_secs_f64());
                            self.note(SessionState::Up { round_trip }, "beats come back");
                        }
                        questions.take(std::mem::take(&mut reply.queries), &self.options.serving);
                        if !self.pass_on(reply).await {
                            return Ended::Stopped;
                        }
                    }
                    Ok(None) => return Ended::Closed("the replica ended the stream".to_owned()),
                    Err(status) => return Ended::Closed(status.to_string()),
                },
                _ = look.tick() => if echoes.is_dead() {
                    return Ended::Silent;
                },
                tick = self.ticks.recv() => match tick {
                    // A beat is only numbered if it is sent.
                    Ok(tick) => if let Ok(place) = outbox.try_reserve() {
                        place.send(v1::Beat { replies: questions.replies(), ..self.beat(echoes, tick) });
                    },
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ended::Stopped,
                },
                // A person waits: not for the next beat. If there is no place now, that one takes the answer along.
                () = questions.answered() => if let Ok(place) = outbox.try_reserve() {
                    let tick = Tick { vitals: self.options.serving.vitals(), report: None };
                    place.send(v1::Beat { replies: questions.replies(), ..self.beat(echoes, tick) });
                },
            }
        }
    }

    /// Gives what came down to the hub; false if it is gone.
    async fn pass_on(&self, reply: v1::BeatReply) -> bool {
        let plan = reply.plan.map(Down::Plan);
        let peers = reply.peers.map(Down::Peers);
        let faults = reply.faults.map(Down::Faults);
        let switches = reply.switches.map(Down::Switches);
        let outages = reply.outages.map(Down::Outages);
        // After the peers: a new list ends the probes of the old one.
        let look = reply.look.then_some(Down::Look);
        for down in [switches, plan, peers, faults, outages, look].into_iter().flatten() {
            if self.down.send(down).await.is_err() {
                return false;
            }
        }
        true
    }

    fn beat(&self, echoes: &mut Echoes, tick: Tick) -> v1::Beat {
        let Tick { vitals, report } = tick;
        let held = self.shared.held.borrow();
        let plan = held.plan.as_ref().map(|plan| plan.id).unwrap_or_default();
        let (refused_commit, refused_digest, refusal) = self.shared.refused.borrow().clone().unwrap_or_default();
        v1::Beat {
            sequence: echoes.send(),
            state: vitals.state.into(),
            commit: vitals.served.map_or(0, |served| served.commit.0),
            digest: vitals.served.map(|served| served.digest.as_bytes().to_vec().into()).unwrap_or_default(),
            plan_epoch: plan.epoch,
            plan_number: plan.number,
            in_flight: vitals.in_flight,
            report: report.map(|report| (*report).clone()),
            echo_seen: echoes.seen(),
            accounts_digest: held
                .accounts
                .as_ref()
                .map(|held| held.digest.as_bytes().to_vec().into())
                .unwrap_or_default(),
            identity: None,
            replies: Vec::new(),
            refused_commit,
            refusal,
            refused_digest: refused_digest.map(|digest| digest.as_bytes().to_vec().into()).unwrap_or_default(),
            tables_digest: vitals.served.map(|served| served.tables.as_bytes().to_vec().into()).unwrap_or_default(),
            tables_form: meridian_types::served::FORM,
            unsaved: self.shared.unsaved.borrow().clone(),
        }
    }

    fn lead(&self, leaderless: bool) {
        self.shared.links.send_if_modified(|links| {
            let changed = links.lead(self.index, leaderless);
            if changed {
                let endpoint = links.sessions.get(self.index).map(|session| session.endpoint.as_str());
                tracing::info!(endpoint, leaderless, "whether the replica knows of anybody who plans");
            }
            changed
        });
    }

    fn note(&self, state: SessionState, why: &str) {
        let mut control = None;
        self.shared.links.send_if_modified(|links| {
            let before = links.control;
            let changed = links.set(self.index, state);
            if changed {
                let up = links.sessions.iter().filter(|session| session.state.is_up()).count();
                self.metrics.sessions_up.set(i64::try_from(up).unwrap_or(i64::MAX));
                control = (before != links.control).then_some(links.control);
                let endpoint = links.sessions.get(self.index).map(|session| session.endpoint.as_str());
                tracing::info!(endpoint, state = state.as_str(), why, "pulse");
            }
            changed
        });
        match control {
            Some(crate::ControlState::Lost { .. }) => tracing::warn!("control plane lost; serving on"),
            Some(_) => tracing::info!("control plane connected"),
            None => {}
        }
    }
}
