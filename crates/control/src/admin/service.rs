//! The calls: who may make them, what they mean, how they are counted.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use meridian_proto::admin::v1 as admin;
use meridian_proto::admin::v1::admin_service_server::AdminService;
use meridian_proto::resources::v1::{self as resources, Resource};
use meridian_types::{CommitId, Digest, Kind};
use prost::Message;
use tonic::{Code, Request, Response, Status};

use super::apply::{self, Change, Wanted};
use super::write::{Call, Writer};
use super::{accounts, audit, events, explain, faults, fleet, overrides, rehearse, rollouts, switches};
use crate::metrics::AdminCall;
use crate::rollout::Policy;
use crate::shared::Shared;
use crate::store::document;

/// Commits that history shows.
const HISTORY_DEFAULT: u32 = 20;
const HISTORY_MAX: u32 = 100;
/// How often the fleet is looked at for a watcher.
const WATCH_DEFAULT_MS: u32 = 1000;
const WATCH_MS: std::ops::RangeInclusive<u32> = 100..=60_000;
/// Reading the store takes far less, so that a command given at a restart does not fail; and a client of ours waits longer.
const LOADING: Duration = Duration::from_secs(2);
/// A reason stands in commits and plans.
const MAX_REASON: usize = 1000;

/// The operators' API.
pub(crate) struct Admin {
    shared: Arc<Shared>,
    writer: Writer,
}

impl Admin {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, writer: Writer::default() }
    }

    /// Who calls, once the store was read: nothing may be answered from a view that is still empty.
    async fn operator<T: Sync>(&self, request: &Request<T>) -> Result<String, Status> {
        let author = self.shared.access.operator(request)?;
        self.shared.mirror.loaded(LOADING).await?;
        Ok(author)
    }

    /// Does the work of a call and counts how it ended.
    async fn counted<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<Response<T>, Status> {
        let outcome = work.await;
        let text = match outcome.as_ref().map_err(Status::code) {
            Ok(_) => "ok",
            Err(Code::InvalidArgument) => "invalid_argument",
            Err(Code::NotFound) => "not_found",
            Err(Code::Aborted) => "aborted",
            Err(Code::PermissionDenied) => "permission_denied",
            Err(Code::Unavailable) => "unavailable",
            Err(_) => "other",
        };
        self.shared.metrics.admin_calls.get_or_create(&AdminCall { call, outcome: text }).inc();
        outcome.map(Response::new)
    }

    async fn apply_commit(
        &self,
        name: &'static str,
        request_id: &str,
        request: Digest,
        wanted: Wanted<'_>,
    ) -> Result<admin::ApplyResponse, Status> {
        check_reason(wanted.reason)?;
        let call = Call { name, author: wanted.author, reason: wanted.reason, request_id, request };
        let written = self.writer.write(&self.shared, call, || apply::decide(&self.shared, &wanted)).await?;
        Ok(written.0)
    }

    fn resources(&self, request: &admin::GetResourcesRequest) -> Result<admin::GetResourcesResponse, Status> {
        let known = || Kind::ALL.map(Kind::as_str).join(", ");
        let kind = Kind::parse(&request.kind)
            .ok_or_else(|| Status::invalid_argument(format!("kind must be one of {}", known())))?;
        let view = self.shared.mirror.view();
        let tenant = |tenant: &meridian_types::Tenant| Resource {
            kind: Kind::Tenant.to_string(),
            name: tenant.name.to_string(),
            body: document::write(&resources::Tenant::from(tenant)),
        };
        let all: Vec<Resource> = match kind {
            Kind::Tenant => view.accounts.tenants.values().map(tenant).collect(),
            _ => {
                view.head.iter().flat_map(|head| head.content.resources()).filter(|r| r.kind == kind.as_str()).collect()
            }
        };
        let is_wanted = |resource: &Resource| request.name.is_empty() || resource.name == request.name;
        let resources: Vec<Resource> = all.into_iter().filter(is_wanted).collect();
        if resources.is_empty() && !request.name.is_empty() {
            return Err(Status::not_found(format!("there is no {kind} {}", request.name)));
        }
        Ok(admin::GetResourcesResponse { resources, commit: view.head_id().0 })
    }

    fn commits(&self, limit: u32) -> Result<admin::HistoryResponse, Status> {
        let limit = match limit {
            0 => HISTORY_DEFAULT,
            1..=HISTORY_MAX => limit,
            _ => return Err(Status::invalid_argument(format!("limit must be 1 to {HISTORY_MAX}"))),
        };
        let view = self.shared.mirror.view();
        let newest = view.commits.values().rev().take(limit as usize);
        Ok(admin::HistoryResponse { commits: newest.map(|commit| commit.info.clone()).collect() })
    }
}

/// SHA-256 of a request. The messages have no maps, so that their encoding is the same each time.
fn digest(request: &impl Message) -> Digest {
    Digest::of(&request.encode_to_vec())
}

/// A write and who asks for it: repeated under the same id, it is done once.
fn call<'a>(
    name: &'static str,
    author: &'a str,
    request: &impl Message,
    request_id: &'a str,
    reason: &'a str,
) -> Result<Call<'a>, Status> {
    check_reason(reason)?;
    Ok(Call { name, author, reason, request_id, request: digest(request) })
}

fn check_reason(reason: &str) -> Result<(), Status> {
    if reason.len() <= MAX_REASON {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("reason may have {MAX_REASON} bytes at most")))
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn get_resources(
        &self,
        request: Request<admin::GetResourcesRequest>,
    ) -> Result<Response<admin::GetResourcesResponse>, Status> {
        self.counted("get_resources", async {
            self.operator(&request).await?;
            self.resources(request.get_ref())
        })
        .await
    }

    async fn apply(&self, request: Request<admin::ApplyRequest>) -> Result<Response<admin::ApplyResponse>, Status> {
        self.counted("apply", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let wanted = Wanted {
                author: &author,
                reason: &request.reason,
                expected: CommitId(request.expected_commit),
                dry_run: request.dry_run,
                rollout: Policy::read(request.rollout.as_ref()).map_err(Status::invalid_argument)?,
                change: Change::Edit { upserts: &request.upserts, removals: &request.removals },
            };
            self.apply_commit("apply", &request.request_id, digest(request), wanted).await
        })
        .await
    }

    async fn history(
        &self,
        request: Request<admin::HistoryRequest>,
    ) -> Result<Response<admin::HistoryResponse>, Status> {
        self.counted("history", async {
            self.operator(&request).await?;
            self.commits(request.get_ref().limit)
        })
        .await
    }

    async fn audit(&self, request: Request<admin::AuditRequest>) -> Result<Response<admin::AuditResponse>, Status> {
        self.counted("audit", async {
            self.operator(&request).await?;
            audit::read(&self.shared, request.get_ref()).await
        })
        .await
    }

    async fn rollback(
        &self,
        request: Request<admin::RollbackRequest>,
    ) -> Result<Response<admin::ApplyResponse>, Status> {
        self.counted("rollback", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let reason = format!("rollback to commit {}: {}", request.to_commit, request.reason);
            let wanted = Wanted {
                author: &author,
                reason: &reason,
                expected: CommitId(request.expected_commit),
                dry_run: false,
                rollout: Policy::read(request.rollout.as_ref()).map_err(Status::invalid_argument)?,
                change: Change::Restore(CommitId(request.to_commit)),
            };
            self.apply_commit("rollback", &request.request_id, digest(request), wanted).await
        })
        .await
    }

    async fn get_rollout(
        &self,
        request: Request<admin::GetRolloutRequest>,
    ) -> Result<Response<admin::Rollout>, Status> {
        self.counted("get_rollout", async {
            self.operator(&request).await?;
            rollouts::rollout(&self.shared, request.get_ref().commit)
        })
        .await
    }

    async fn change_rollout(
        &self,
        request: Request<admin::ChangeRolloutRequest>,
    ) -> Result<Response<admin::Rollout>, Status> {
        self.counted("change_rollout", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let call = call("change_rollout", &author, request, &request.request_id, &request.reason)?;
            let decide = || rollouts::decide(&self.shared, &author, request);
            Ok(self.writer.write(&self.shared, call, decide).await?.0)
        })
        .await
    }

    async fn create_key(
        &self,
        request: Request<admin::CreateKeyRequest>,
    ) -> Result<Response<admin::CreateKeyResponse>, Status> {
        self.counted("create_key", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let call = call("create_key", &author, request, &request.request_id, &request.reason)?;
            let written = self.writer.write(&self.shared, call, || accounts::create(&self.shared, request)).await?;
            Ok(written.0)
        })
        .await
    }

    async fn list_keys(
        &self,
        request: Request<admin::ListKeysRequest>,
    ) -> Result<Response<admin::ListKeysResponse>, Status> {
        self.counted("list_keys", async {
            self.operator(&request).await?;
            Ok(accounts::list(&self.shared, &request.get_ref().tenant))
        })
        .await
    }

    async fn revoke_key(
        &self,
        request: Request<admin::RevokeKeyRequest>,
    ) -> Result<Response<admin::RevokeKeyResponse>, Status> {
        self.counted("revoke_key", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let call = call("revoke_key", &author, request, &request.request_id, &request.reason)?;
            let written = self.writer.write(&self.shared, call, || accounts::revoke(&self.shared, request)).await?;
            Ok(written.0)
        })
        .await
    }

    async fn set_override(
        &self,
        request: Request<admin::SetOverrideRequest>,
    ) -> Result<Response<admin::SetOverrideResponse>, Status> {
        self.counted("set_override", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let call = call("set_override", &author, request, &request.request_id, &request.reason)?;
            let decide = || overrides::decide(&self.shared, &author, request);
            // The override and the record of the request are written by one transaction, so they share a revision.
            let (_, revision) = self.writer.write(&self.shared, call, decide).await?;
            Ok(admin::SetOverrideResponse { revision: revision.0 })
        })
        .await
    }

    async fn inject_fault(
        &self,
        request: Request<admin::InjectFaultRequest>,
    ) -> Result<Response<admin::InjectFaultResponse>, Status> {
        self.counted("inject_fault", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let call = call("inject_fault", &author, request, &request.request_id, &request.reason)?;
            let decide = || faults::inject(&self.shared, &author, request);
            Ok(self.writer.write(&self.shared, call, decide).await?.0)
        })
        .await
    }

    async fn list_faults(
        &self,
        request: Request<admin::ListFaultsRequest>,
    ) -> Result<Response<admin::ListFaultsResponse>, Status> {
        self.counted("list_faults", async {
            self.operator(&request).await?;
            Ok(faults::list(&self.shared))
        })
        .await
    }

    async fn end_fault(
        &self,
        request: Request<admin::EndFaultRequest>,
    ) -> Result<Response<admin::EndFaultResponse>, Status> {
        self.counted("end_fault", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let call = call("end_fault", &author, request, &request.request_id, &request.reason)?;
            let decide = || faults::end(&self.shared, &author, request);
            Ok(self.writer.write(&self.shared, call, decide).await?.0)
        })
        .await
    }

    async fn switch_off(
        &self,
        request: Request<admin::SwitchOffRequest>,
    ) -> Result<Response<admin::SwitchOffResponse>, Status> {
        self.counted("switch_off", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let call = call("switch_off", &author, request, &request.request_id, &request.reason)?;
            let decide = || switches::off(&self.shared, &author, request);
            Ok(self.writer.write(&self.shared, call, decide).await?.0)
        })
        .await
    }

    async fn switch_on(
        &self,
        request: Request<admin::SwitchOnRequest>,
    ) -> Result<Response<admin::SwitchOnResponse>, Status> {
        self.counted("switch_on", async {
            let author = self.operator(&request).await?;
            let request = request.get_ref();
            let call = call("switch_on", &author, request, &request.request_id, &request.reason)?;
            let decide = || switches::on(&self.shared, &author, request);
            Ok(self.writer.write(&self.shared, call, decide).await?.0)
        })
        .await
    }

    async fn list_switches(
        &self,
        request: Request<admin::ListSwitchesRequest>,
    ) -> Result<Response<admin::ListSwitchesResponse>, Status> {
        self.counted("list_switches", async {
            self.operator(&request).await?;
            Ok(switches::list(&self.shared))
        })
        .await
    }

    async fn get_fleet(&self, request: Request<admin::GetFleetRequest>) -> Result<Response<admin::Fleet>, Status> {
        self.counted("get_fleet", async {
            self.operator(&request).await?;
            Ok(fleet::fleet(&self.shared))
        })
        .await
    }

    type WatchFleetStream = BoxStream<'static, Result<admin::Fleet, Status>>;

    async fn watch_fleet(
        &self,
        request: Request<admin::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        self.counted("watch_fleet", async {
            self.operator(&request).await?;
            let interval_ms = match request.get_ref().interval_ms {
                0 => WATCH_DEFAULT_MS,
                ms if WATCH_MS.contains(&ms) => ms,
                _ => return Err(Status::invalid_argument("interval_ms must be 100 to 60000")),
            };
            Ok(watch(self.shared.clone(), Duration::from_millis(u64::from(interval_ms))).boxed())
        })
        .await
    }

    async fn rehearse(&self, request: Request<admin::RehearseRequest>) -> Result<Response<admin::Rehearsal>, Status> {
        self.counted("rehearse", async {
            self.operator(&request).await?;
            rehearse::rehearse(&self.shared, request.get_ref())
        })
        .await
    }

    type WatchEventsStream = BoxStream<'static, Result<admin::WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        request: Request<admin::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        self.counted("watch_events", async {
            self.operator(&request).await?;
            Ok(events::watch(self.shared.clone(), &request.get_ref().cursor).await?.boxed())
        })
        .await
    }

    async fn explain(
        &self,
        request: Request<admin::ExplainRequest>,
    ) -> Result<Response<admin::ExplainResponse>, Status> {
        self.counted("explain", async {
            self.operator(&request).await?;
            explain::explain(&self.shared, request.get_ref())
        })
        .await
    }

    async fn explain_dns(
        &self,
        request: Request<admin::ExplainDnsRequest>,
    ) -> Result<Response<admin::ExplainDnsResponse>, Status> {
        self.counted("explain_dns", async {
            self.operator(&request).await?;
            explain::dns(&self.shared, request.into_inner()).await
        })
        .await
    }

    async fn find_request(
        &self,
        request: Request<admin::FindRequestRequest>,
    ) -> Result<Response<admin::FindRequestResponse>, Status> {
        self.counted("find_request", async {
            self.operator(&request).await?;
            explain::request(&self.shared, request.into_inner()).await
        })
        .await
    }
}

/// The fleet now, and then every `interval` if it changed. Ends when the replica drains.
fn watch(shared: Arc<Shared>, interval: Duration) -> impl Stream<Item = Result<admin::Fleet, Status>> {
    let state: Option<(Arc<Shared>, Option<admin::Fleet>)> = Some((shared, None));
    futures::stream::unfold(state, move |state| async move {
        let (shared, last) = state?;
        loop {
            if last.is_some() {
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    () = shared.shutdown.draining() => {
                        return Some((Err(Status::unavailable("the replica is stopping")), None));
                    }
                }
            }
            let fleet = fleet::fleet(&shared);
            // The time alone is no news.
            let same = last
                .as_ref()
                .is_some_and(|last| admin::Fleet { at_unix_ms: fleet.at_unix_ms, ..last.clone() } == fleet);
            if !same {
                return Some((Ok(fleet.clone()), Some((shared, Some(fleet)))));
            }
        }
    })
}
