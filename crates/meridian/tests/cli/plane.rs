//! An admin API that keeps its state in memory: what the binary calls, and what it was called with.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use meridian_identity::{Identity, ServerTls};
use meridian_proto::admin::v1::admin_service_server::{AdminService, AdminServiceServer};
use meridian_proto::admin::v1::change::Action;
use meridian_proto::admin::v1::*;
use meridian_proto::content::Content;
use meridian_proto::node::v1::RequestRecord;
use meridian_proto::resources::v1::{Key, Resource};
use meridian_proto::{fleet, node, transport};
use meridian_types::KeyHash;
use tonic::{Request, Response, Status};

/// 2026-11-21T12:00:00Z.
const NOW: i64 = 1_795_262_400_000;

/// The state and what tests look at.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) commits: Vec<(Content, CommitInfo)>,
    pub(crate) keys: Vec<Key>,
    pub(crate) overrides: Vec<SetOverrideRequest>,
    /// At the fleet, since a drain.
    pub(crate) looks: u32,
    /// A request of the drained region never ends.
    pub(crate) is_busy: bool,
    pub(crate) author: String,
    /// Loses the answer of that many writes, after they were done.
    pub(crate) lose_answers: u32,
    pub(crate) faults: Vec<fleet::v1::InjectedFault>,
    pub(crate) switches: Vec<fleet::v1::Switch>,
    /// Its store takes no writes.
    pub(crate) is_read_only: bool,
    outcomes: BTreeMap<String, ApplyResponse>,
}

/// A served API; the binary is pointed at it.
pub(crate) struct Plane {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) address: String,
    _runtime: tokio::runtime::Runtime,
}

struct Api(Arc<Mutex<State>>);

impl Plane {
    pub(crate) fn start(tls: Option<ServerTls>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let api = AdminServiceServer::new(Api(state.clone()));
        let address = runtime.block_on(async {
            let listener = meridian_host::Host::real().net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let incoming = transport::incoming::<Identity, _, _>(listener, move |connection| {
                let tls = tls.clone();
                async move {
                    match tls {
                        Some(tls) => tls.accept(connection).await,
                        None => Ok((connection, None)),
                    }
                }
            });
            tokio::spawn(transport::server().add_service(api).serve_with_incoming(incoming));
            address
        });
        Self { state, address, _runtime: runtime }
    }

    /// Runs the binary with an empty environment, so that nothing of the machine's leaks in.
    pub(crate) fn run(&self, arguments: &[&str], stdin: &str) -> Run {
        run(&[&["--admin", &self.address], arguments].concat(), stdin)
    }
}

/// What a run said.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(arguments: &[&str], stdin: &str) -> Run {
    use std::io::Write;
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A verb that reads no input has closed it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

impl State {
    fn head(&self) -> u64 {
        self.commits.len() as u64
    }

    fn content(&self) -> Content {
        self.commits.last().map(|(content, _)| content.clone()).unwrap_or_default()
    }

    fn commit(&mut self, content: Content, reason: String) {
        let commit = self.head() + 1;
        let info = CommitInfo {
            commit,
            author: self.author.clone(),
            reason,
            made_at_unix_ms: 1_795_262_400_000,
            resources: content.len() as u32,
            ..CommitInfo::default()
        };
        self.commits.push((content, info));
    }

    fn apply(&mut self, request: ApplyRequest) -> Result<ApplyResponse, Status> {
        if let Some(outcome) = self.outcomes.get(&request.request_id) {
            return Ok(outcome.clone());
        }
        if request.expected_commit != self.head() {
            return Err(Status::aborted(format!("head is commit {}", self.head())));
        }
        let (before, mut after) = (self.content(), self.content());
        after.apply(request.upserts.clone(), request.removals.clone());
        let mistakes = after.configuration().err().unwrap_or_default();
        if !mistakes.is_empty() {
            let mistakes = mistakes.into_iter().map(|m| Mistake {
                kind: m.kind.to_string(),
                name: m.name,
                field_path: m.path,
                code: m.code.to_string(),
                text: m.text,
            });
            return Ok(ApplyResponse { commit: self.head(), mistakes: mistakes.collect(), ..Default::default() });
        }
        let change = |kind: &str, name: &str, action: Action| {
            let of = |content: &Content| {
                let found = content.resources().find(|r| r.kind == kind && r.name == name);
                found.map(|r: Resource| r.body).unwrap_or_default()
            };
            let (before, after) = (of(&before), of(&after));
            Change { action: action.into(), kind: kind.into(), name: name.into(), before, after }
        };
        let (changed, removed) = after.diff(&before);
        let mut changes: Vec<_> = request
            .upserts
            .iter()
            .map(|r| {
                let is_new = !before.resources().any(|old| old.kind == r.kind && old.name == r.name);
                let action = match (changed.contains(r), is_new) {
                    (false, _) => Action::Unchanged,
                    (true, true) => Action::Created,
                    (true, false) => Action::Changed,
                };
                change(&r.kind, &r.name, action)
            })
            .collect();
        changes.extend(removed.iter().map(|r| change(&r.kind, &r.name, Action::Removed)));
        if !request.dry_run && after != before {
            self.commit(after, request.reason);
        }
        let response = ApplyResponse { commit: self.head(), changes, ..Default::default() };
        self.outcomes.insert(request.request_id, response.clone());
        Ok(response)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AdminService for Api {
    async fn get_resources(&self, request: Request<GetResourcesRequest>) -> Answer<GetResourcesResponse> {
        let (state, request) = (self.0.lock().unwrap(), request.into_inner());
        let matches = |r: &Resource| r.kind == request.kind && (request.name.is_empty() || r.name == request.name);
        let resources: Vec<Resource> = state.content().resources().filter(matches).collect();
        if resources.is_empty() && !request.name.is_empty() {
            return Err(Status::not_found(format!("there is no {}/{}", request.kind, request.name)));
        }
        Ok(Response::new(GetResourcesResponse { resources, commit: state.head() }))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Answer<ApplyResponse> {
        let mut state = self.0.lock().unwrap();
        if state.is_read_only && state.lose_answers == 0 {
            let mut refused = Status::unavailable("read-only: no quorum");
            refused.metadata_mut().insert(meridian_proto::NOT_ATTEMPTED, "1".parse().unwrap());
            return Err(refused);
        }
        let peer = request.extensions().get::<transport::Peer<Identity>>().unwrap();
        state.author = peer.identity.as_ref().map_or("anonymous".to_owned(), |identity| identity.name.clone());
        let response = state.apply(request.into_inner())?;
        if state.lose_answers > 0 {
            state.lose_answers -= 1;
            return Err(Status::unavailable("connection reset"));
        }
        Ok(Response::new(response))
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Answer<HistoryResponse> {
        let limit = request.into_inner().limit as usize;
        let state = self.0.lock().unwrap();
        let commits = state.commits.iter().rev().take(limit).map(|(_, info)| info.clone()).collect();
        Ok(Response::new(HistoryResponse { commits }))
    }

    async fn audit(&self, request: Request<AuditRequest>) -> Answer<AuditResponse> {
        let request = request.into_inner();
        let record = AuditRecord {
            id: "01ARYZ6S41TSV4RRFFQ69G5FAV".to_owned(),
            at_unix_ms: 1_795_262_400_000,
            author: "alice".to_owned(),
            call: "set_override".to_owned(),
            summary: format!("limit {} before {:?}", request.limit, request.before),
            ..AuditRecord::default()
        };
        Ok(Response::new(AuditResponse { records: vec![record] }))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Answer<ApplyResponse> {
        let (mut state, request) = (self.0.lock().unwrap(), request.into_inner());
        let old = state.commits.get(request.to_commit.saturating_sub(1) as usize).map(|(content, _)| content.clone());
        let old = old.ok_or_else(|| Status::not_found(format!("there is no commit {}", request.to_commit)))?;
        state.commit(old, request.reason);
        Ok(Response::new(ApplyResponse { commit: state.head(), ..ApplyResponse::default() }))
    }

    async fn get_rollout(&self, _request: Request<GetRolloutRequest>) -> Answer<Rollout> {
        Err(Status::unimplemented("no cells here"))
    }

    async fn change_rollout(&self, _request: Request<ChangeRolloutRequest>) -> Answer<Rollout> {
        Err(Status::unimplemented("no cells here"))
    }

    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Answer<CreateKeyResponse> {
        let (mut state, request) = (self.0.lock().unwrap(), request.into_inner());
        let hash = KeyHash(meridian_types::Digest::from_slice(&request.hash).unwrap());
        let key = Key {
            id: hash.id(),
            hash: request.hash,
            tenant: request.tenant,
            label: request.label,
            created_at_unix_ms: 1_795_262_400_000,
            expires_at_unix_ms: request.expires_at_unix_ms,
            ..Key::default()
        };
        state.keys.push(key.clone());
        Ok(Response::new(CreateKeyResponse { key: Some(key) }))
    }

    async fn list_keys(&self, _request: Request<ListKeysRequest>) -> Answer<ListKeysResponse> {
        Ok(Response::new(ListKeysResponse { keys: self.0.lock().unwrap().keys.clone(), revision: 5 }))
    }

    async fn revoke_key(&self, request: Request<RevokeKeyRequest>) -> Answer<RevokeKeyResponse> {
        let (mut state, request) = (self.0.lock().unwrap(), request.into_inner());
        if !matches!(request.expected_revision, 0 | 5) {
            return Err(Status::aborted(format!("decided on revision {}", request.expected_revision)));
        }
        let id = request.id;
        let key = state.keys.iter_mut().find(|key| key.id == id);
        let key = key.ok_or_else(|| Status::not_found(format!("there is no key {id}")))?;
        key.revoked_at_unix_ms = 1_795_262_400_000;
        Ok(Response::new(RevokeKeyResponse { key: Some(key.clone()) }))
    }

    async fn set_override(&self, request: Request<SetOverrideRequest>) -> Answer<SetOverrideResponse> {
        self.0.lock().unwrap().overrides.push(request.into_inner());
        Ok(Response::new(SetOverrideResponse { revision: 8 }))
    }

    async fn get_fleet(&self, _request: Request<GetFleetRequest>) -> Answer<Fleet> {
        let mut state = self.0.lock().unwrap();
        let last = state.overrides.last().and_then(|last| last.change.as_ref());
        let drained = matches!(last, Some(set_override_request::Change::Drained(true)));
        // The plan comes later than the override.
        state.looks = if drained { state.looks + 1 } else { 0 };
        let planned = state.looks > 2;
        let region = |name: &str, state: fleet::v1::RegionState, weight: u32| FleetRegion {
            region: name.into(),
            state: state.into(),
            weight,
            override_revision: 7,
            drained: drained && name == "eu-west",
            ..FleetRegion::default()
        };
        let (serving, gone) = (fleet::v1::RegionState::Serving, fleet::v1::RegionState::Drained);
        let regions = match planned {
            true => vec![region("eu-west", gone, 0), region("us-west", serving, 1000)],
            false => vec![region("eu-west", serving, 500), region("us-west", serving, 500)],
        };
        // Nodes follow the plan, caches the nodes, and requests end last: unless one never does.
        let (unnamed, open) = (state.looks > 3, state.is_busy || state.looks < 6);
        let node = |region: &str| {
            let served = node::v1::DnsRegion {
                region: "eu-west".into(),
                name: if unnamed { String::new() } else { "api.meridian.test".into() },
                permille: if unnamed { 0 } else { 333 },
                unnamed_for_ms: if unnamed { 30_000 } else { 0 },
                cached_for_ms: 30_000,
            };
            FleetNode {
                node: format!("{region}-1"),
                region: region.into(),
                in_flight: u32::from(open),
                dns: Some(node::v1::DnsServed { plan_epoch: 1, plan_number: 42, regions: vec![served] }),
                ..FleetNode::default()
            }
        };
        let (replica, nodes) = ("cp-1".to_owned(), vec![node("eu-west"), node("us-west")]);
        let at_unix_ms = 1_795_262_400_000;
        Ok(Response::new(Fleet { leader: replica.clone(), replica, regions, nodes, at_unix_ms, ..Fleet::default() }))
    }

    type WatchFleetStream = tokio_stream::Iter<std::iter::RepeatN<Result<Fleet, Status>>>;

    async fn watch_fleet(&self, _request: Request<WatchFleetRequest>) -> Answer<Self::WatchFleetStream> {
        let fleet = Fleet { replica: "x".repeat(1 << 10), ..Fleet::default() };
        Ok(Response::new(tokio_stream::iter(std::iter::repeat_n(Ok(fleet), 1 << 12))))
    }

    async fn rehearse(&self, request: Request<RehearseRequest>) -> Answer<Rehearsal> {
        let regions = request.into_inner().suppose.into_iter().map(|supposition| RehearsedRegion {
            region: supposition.region,
            reason: format!("{:?}", supposition.what.unwrap()),
            ..RehearsedRegion::default()
        });
        Ok(Response::new(Rehearsal { regions: regions.collect(), ..Rehearsal::default() }))
    }

    type WatchEventsStream = tokio_stream::Iter<std::vec::IntoIter<Result<WatchEventsResponse, Status>>>;

    /// One event more than the cursor says, and then the replica is gone; three in all.
    async fn watch_events(&self, request: Request<WatchEventsRequest>) -> Answer<Self::WatchEventsStream> {
        let cursor: u32 = request.into_inner().cursor.parse().unwrap_or(0);
        if cursor == 3 {
            return Err(Status::invalid_argument("three is enough"));
        }
        let event = Event { subject: format!("event-{}", cursor + 1), ..Event::default() };
        let message = Some(watch_events_response::Message::Event(event));
        let response = WatchEventsResponse { cursor: (cursor + 1).to_string(), message };
        Ok(Response::new(tokio_stream::iter(vec![Ok(response), Err(Status::unavailable("stopping"))])))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        let lines = vec![format!("{:?}", request.into_inner().subject.unwrap())];
        Ok(Response::new(ExplainResponse { replica: "cp-1".into(), lines }))
    }

    async fn explain_dns(&self, request: Request<ExplainDnsRequest>) -> Answer<ExplainDnsResponse> {
        let request = request.into_inner();
        let lines = vec![format!("{} for {}", request.name, request.from)];
        Ok(Response::new(ExplainDnsResponse { node: "eu-west-1".into(), lines }))
    }

    async fn inject_fault(&self, request: Request<InjectFaultRequest>) -> Answer<InjectFaultResponse> {
        let InjectFaultRequest { spec, for_ms, reason, .. } = request.into_inner();
        let until_unix_ms = 1_795_262_400_000 + i64::from(for_ms);
        let id = "0a1b2c3d".to_owned();
        let fault = fleet::v1::InjectedFault { id, spec, reason, until_unix_ms, ..Default::default() };
        self.0.lock().unwrap().faults.push(fault.clone());
        Ok(Response::new(InjectFaultResponse { fault: Some(fault) }))
    }

    async fn switch_off(&self, request: Request<SwitchOffRequest>) -> Answer<SwitchOffResponse> {
        let SwitchOffRequest { scope, for_ms, reason, .. } = request.into_inner();
        let until_unix_ms = if for_ms == 0 { 0 } else { NOW + i64::try_from(for_ms).unwrap() };
        let author = "alice".to_owned();
        let switch = fleet::v1::Switch { scope, author, reason, made_at_unix_ms: NOW, until_unix_ms };
        self.0.lock().unwrap().switches.push(switch.clone());
        Ok(Response::new(SwitchOffResponse { switch: Some(switch) }))
    }

    async fn switch_on(&self, request: Request<SwitchOnRequest>) -> Answer<SwitchOnResponse> {
        let scope = request.into_inner().scope;
        let mut state = self.0.lock().unwrap();
        let at = state.switches.iter().position(|switch| switch.scope == scope);
        let at = at.ok_or_else(|| Status::not_found("it is not switched off"))?;
        let switch = Some(state.switches.remove(at));
        Ok(Response::new(SwitchOnResponse { switch, remaining: state.switches.clone() }))
    }

    async fn list_switches(&self, _: Request<ListSwitchesRequest>) -> Answer<ListSwitchesResponse> {
        Ok(Response::new(ListSwitchesResponse { switches: self.0.lock().unwrap().switches.clone() }))
    }

    async fn list_faults(&self, _: Request<ListFaultsRequest>) -> Answer<ListFaultsResponse> {
        Ok(Response::new(ListFaultsResponse { faults: self.0.lock().unwrap().faults.clone() }))
    }

    async fn end_fault(&self, request: Request<EndFaultRequest>) -> Answer<EndFaultResponse> {
        let id = request.into_inner().id;
        let mut state = self.0.lock().unwrap();
        let at = state.faults.iter().position(|fault| fault.id == id);
        let at = at.ok_or_else(|| Status::not_found(format!("no fault {id} is injected")))?;
        Ok(Response::new(EndFaultResponse { fault: Some(state.faults.remove(at)) }))
    }

    async fn find_request(&self, request: Request<FindRequestRequest>) -> Answer<FindRequestResponse> {
        let request_id = request.into_inner().request_id;
        if request_id == "unknown" {
            return Err(Status::not_found("no request unknown is remembered"));
        }
        let record = RequestRecord {
            request_id,
            outcome: "failed".into(),
            code: "no_target".into(),
            duration_ms: 120,
            ..RequestRecord::default()
        };
        Ok(Response::new(FindRequestResponse { replica: "cp-1".into(), records: vec![record] }))
    }
}
