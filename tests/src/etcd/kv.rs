//! The service of keys: what our client uses of it, ranges, transactions and compaction.

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService, PbPutRequest,
    PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse, PbTxnRequest, PbTxnResponse,
};
use futures::stream::BoxStream;
use prost::Message;
use tonic::{Request, Response, Status};

use super::member::{Member, timed_out};

/// etcd's default `--max-request-bytes`.
const MAX_REQUEST_BYTES: usize = 1536 * 1024;

#[tonic::async_trait]
impl PbKvService for Member {
    type RangeStreamStream = BoxStream<'static, Result<PbRangeStreamResponse, Status>>;

    async fn range(&self, request: Request<PbRangeRequest>) -> Result<Response<PbRangeResponse>, Status> {
        self.led(&request).await?;
        let mut answer = self.cluster.with(|state| state.data.range(request.get_ref()))?;
        answer.header = Some(self.cluster.header(self.index));
        Ok(Response::new(answer))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        if request.get_ref().encoded_len() > MAX_REQUEST_BYTES {
            return Err(Status::invalid_argument("etcdserver: request is too large"));
        }
        self.led(&request).await?;
        let (succeeded, lost) = self.cluster.with(|state| (state.data.txn(request.get_ref()), state.loses_reply()));
        let succeeded = succeeded?;
        if lost {
            return Err(timed_out());
        }
        let header = Some(self.cluster.header(self.index));
        Ok(Response::new(PbTxnResponse { header, succeeded, responses: Vec::new() }))
    }

    async fn compact(&self, request: Request<PbCompactionRequest>) -> Result<Response<PbCompactionResponse>, Status> {
        self.led(&request).await?;
        self.cluster.with(|state| state.data.compact(request.get_ref().revision))?;
        Ok(Response::new(PbCompactionResponse { header: Some(self.cluster.header(self.index)) }))
    }

    async fn range_stream(&self, _: Request<PbRangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(not_faked("RangeStream"))
    }

    async fn put(&self, _: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        Err(not_faked("Put"))
    }

    async fn delete_range(&self, _: Request<PbDeleteRequest>) -> Result<Response<PbDeleteResponse>, Status> {
        Err(not_faked("DeleteRange"))
    }
}

/// Our client does not use it, so that no test would notice how it is faked.
pub(super) fn not_faked(call: &str) -> Status {
    Status::unimplemented(format!("{call} is not part of the fake"))
}
