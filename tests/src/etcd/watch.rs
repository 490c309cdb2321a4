//! The service of watches: one stream, any number of watches on it.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::proto::{PbEvent, PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchService};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::cluster::{Bug, ELECTION_TIMEOUT, Standing};
use super::member::{Member, no_leader, requires_leader};

/// A stream that wants a leader is ended when there was none for three election timeouts.
const ENDS_AFTER: Duration = ELECTION_TIMEOUT.saturating_mul(3);
/// The watch of a progress answer that is about the whole stream.
const WHOLE_STREAM: i64 = -1;
/// How far back a watch from the future wrongly begins.
const BACK_FROM_THE_FUTURE: i64 = 5;

/// One watch of a stream.
struct Watching {
    id: i64,
    key: Vec<u8>,
    end: Vec<u8>,
    /// The next revision that it has not seen.
    next: i64,
    /// What was delivered last, for the bugs that deliver it again.
    last: Vec<PbEvent>,
}

/// One stream.
struct Session {
    member: Member,
    requests: Streaming<PbWatchRequest>,
    requires_leader: bool,
    moved: watch::Receiver<()>,
    watches: Vec<Watching>,
    ready: VecDeque<PbWatchResponse>,
    last_id: i64,
}

#[tonic::async_trait]
impl PbWatchService for Member {
    type WatchStream = BoxStream<'static, Result<PbWatchResponse, Status>>;

    async fn watch(&self, request: Request<Streaming<PbWatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let session = Session {
            member: self.clone(),
            requires_leader: requires_leader(&request),
            moved: self.cluster.subscribe(),
            requests: request.into_inner(),
            watches: Vec::new(),
            ready: VecDeque::new(),
            last_id: -1,
        };
        let answers = stream::unfold(Some(session), |session| async move {
            let mut session = session?;
            match session.next().await {
                Ok(Some(answer)) => Some((Ok(answer), Some(session))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}

impl Session {
    /// The next message; `None` when the client has closed the stream.
    async fn next(&mut self) -> Result<Option<PbWatchResponse>, Status> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Ok(Some(answer));
            }
            self.collect();
            if !self.ready.is_empty() {
                continue;
            }
            let patience = match self.member.cluster.standing(self.member.index) {
                Standing::Leaderless(since) if self.requires_leader => match ENDS_AFTER.checked_sub(since) {
                    Some(left) if !left.is_zero() => left,
                    _ => return Err(no_leader()),
                },
                _ => Duration::MAX,
            };
            tokio::select! {
                request = self.requests.message() => match request? {
                    Some(request) => self.take(request),
                    None => return Ok(None),
                },
                _ = self.moved.changed() => {}
                () = tokio::time::sleep(patience), if patience != Duration::MAX => {}
            }
        }
    }

    fn take(&mut self, request: PbWatchRequest) {
        match request.request_union {
            Some(PbWatchRequestUnion::CreateRequest(create)) => {
                self.last_id += 1;
                let header = self.member.cluster.header(self.member.index);
                let mut next = if create.start_revision > 0 { create.start_revision } else { header.revision + 1 };
                if self.has(Bug::IgnoresFutureRevision) && next > header.revision {
                    next = (header.revision - BACK_FROM_THE_FUTURE).max(1);
                }
                let answer = PbWatchResponse {
                    header: Some(header),
                    watch_id: self.last_id,
                    created: true,
                    ..PbWatchResponse::default()
                };
                self.ready.push_back(answer);
                let (key, end) = (create.key, create.range_end);
                self.watches.push(Watching { id: self.last_id, key, end, next, last: Vec::new() });
            }
            Some(PbWatchRequestUnion::CancelRequest(cancel)) => {
                self.watches.retain(|watching| watching.id != cancel.watch_id);
                let header = Some(self.member.cluster.header(self.member.index));
                let (watch_id, canceled) = (cancel.watch_id, true);
                self.ready.push_back(PbWatchResponse { header, watch_id, canceled, ..PbWatchResponse::default() });
            }
            // After everything before it: what is ready was collected first.
            Some(PbWatchRequestUnion::ProgressRequest(_)) => {
                let header = Some(self.member.cluster.header(self.member.index));
                self.ready.push_back(PbWatchResponse { header, watch_id: WHOLE_STREAM, ..PbWatchResponse::default() });
            }
            None => {}
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.member.cluster.with(|state| state.bugs.contains(&bug))
    }

    /// Makes messages of what the watches have not seen.
    fn collect(&mut self) {
        let header = self.member.cluster.header(self.member.index);
        let bugs = self.member.cluster.with(|state| state.bugs.clone());
        let mut cancelled = Vec::new();
        for watching in &mut self.watches {
            let compacted = self.member.cluster.with(|state| state.data.compacted);
            if watching.next < compacted {
                if bugs.contains(&Bug::LosesEventsAfterCompaction) {
                    watching.next = header.revision + 1;
                    continue;
                }
                // As observed with a real one: no usable header, and no reason but this number.
                self.ready.push_back(PbWatchResponse {
                    watch_id: watching.id,
                    canceled: true,
                    compact_revision: compacted,
                    ..PbWatchResponse::default()
                });
                cancelled.push(watching.id);
                continue;
            }
            let (from, to) = (watching.next, header.revision);
            let events = self.member.cluster.with(|state| state.data.events(from, to, &watching.key, &watching.end));
            watching.next = watching.next.max(to + 1);
            if events.is_empty() {
                continue;
            }
            let message = |events| PbWatchResponse {
                header: Some(header),
                watch_id: watching.id,
                events,
                ..PbWatchResponse::default()
            };
            self.ready.push_back(message(events.clone()));
            if bugs.contains(&Bug::RepeatsEvents) {
                self.ready.push_back(message(events.clone()));
            }
            if bugs.contains(&Bug::GoesBack) && !watching.last.is_empty() {
                self.ready.push_back(message(std::mem::take(&mut watching.last)));
            }
            watching.last = events;
        }
        self.watches.retain(|watching| !cancelled.contains(&watching.id));
    }
}
