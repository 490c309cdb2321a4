//! Calls that take more than one message.

use etcd_client::{Client, Error};
use meridian_store::LeaseId;

/// Renews a lease once; returns the seconds left, 0 when the lease is gone.
///
/// etcd-client opens the stream with a renewal of its own but keeps that answer to itself, hence the second one.
pub(crate) async fn renew(client: Client, lease: LeaseId) -> Result<i64, Error> {
    let (mut keeper, mut answers) = client.lease_client().keep_alive(lease.0).await?;
    keeper.keep_alive().await?;
    match answers.message().await? {
        Some(answer) => Ok(answer.ttl()),
        None => Err(Error::LeaseKeepAliveError("stream ended before its answer".to_owned())),
    }
}
