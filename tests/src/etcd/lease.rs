//! The service of leases. The leader alone knows when they end.

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseLeasesRequest,
    PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseService, PbLeaseTimeToLiveRequest,
    PbLeaseTimeToLiveResponse,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::cluster::Standing;
use super::kv::not_faked;
use super::member::{Member, no_leader};

#[tonic::async_trait]
impl PbLeaseService for Member {
    type LeaseKeepAliveStream = BoxStream<'static, Result<PbLeaseKeepAliveResponse, Status>>;

    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        self.led(&request).await?;
        let (id, ttl) = self.cluster.grant(request.get_ref().ttl);
        let header = Some(self.cluster.header(self.index));
        Ok(Response::new(PbLeaseGrantResponse { header, id, ttl, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        self.led(&request).await?;
        self.cluster.with(|state| state.data.revoke(request.get_ref().id))?;
        Ok(Response::new(PbLeaseRevokeResponse { header: Some(self.cluster.header(self.index)) }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let member = self.clone();
        let answer = move |request: Result<PbLeaseKeepAliveRequest, Status>| {
            let id = request?.id;
            if member.cluster.standing(member.index) != Standing::Led {
                return Err(no_leader());
            }
            let ttl = member.cluster.renew(id);
            Ok(PbLeaseKeepAliveResponse { header: Some(member.cluster.header(member.index)), id, ttl })
        };
        Ok(Response::new(request.into_inner().map(answer).boxed()))
    }

    async fn lease_time_to_live(
        &self,
        _: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        Err(not_faked("LeaseTimeToLive"))
    }

    async fn lease_leases(&self, _: Request<PbLeaseLeasesRequest>) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        Err(not_faked("LeaseLeases"))
    }
}
