//! The store on etcd: the only crate that knows etcd.
//!
//! It adds to etcd-client what that leaves to its users: a way around dead members (one client a member, in our own
//! order; tonic's balanced channel keeps choosing dead ones), an honest word about writes whose reply was lost, lists
//! pinned to one revision, and watches that notice when their server has gone silent.
//!
//! Written for etcd 3.4 and later (tests run Debian's 3.4); use a current 3.5 or later in production: old ones have
//! bugs in watches. Those that repeat or go back are filtered here, those that lose events cannot be.

mod call;
mod endpoints;
mod failure;
mod link;
mod options;
mod range;
#[cfg(feature = "testing")]
pub mod testing;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Client, CompareOp, GetOptions, PutOptions, TxnOp};
use meridian_host::{Network, TcpNetwork};
use meridian_store::{
    Compare, Entry, Error, LeaseId, Listing, MAX_KEY_BYTES, Op, Result, Revision, Store, Txn, TxnOutcome, Watch,
};

use crate::endpoints::Endpoints;
pub use crate::options::EtcdOptions;

/// A store on an etcd cluster. It connects when it is first used, and again whenever it must.
pub struct EtcdStore {
    endpoints: Endpoints,
}

impl EtcdStore {
    /// Checks the options and reads their files. It does not wait for etcd: while no member answers, calls fail as
    /// [`Error::Unavailable`].
    ///
    /// # Errors
    /// [`Error::Invalid`], saying which option is wrong and why.
    pub async fn connect(options: EtcdOptions) -> Result<Self> {
        Self::connect_over(options, Arc::new(TcpNetwork)).await
    }

    /// As [`EtcdStore::connect`], over another network than the machine's own.
    ///
    /// # Errors
    /// As [`EtcdStore::connect`].
    pub async fn connect_over(options: EtcdOptions, network: Arc<dyn Network>) -> Result<Self> {
        Ok(Self { endpoints: Endpoints::new(options, network).await? })
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("endpoints", &self.endpoints).finish()
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn cluster_id(&self) -> Result<u64> {
        let found =
            self.endpoints.read(|client| async move { client.kv_client().get("\0", Some(count_only())).await }).await?;
        found.header().map(etcd_client::ResponseHeader::cluster_id).ok_or_else(headless)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        check_key(key)?;
        let mut found = self.endpoints.read(|client| async move { client.kv_client().get(key, None).await }).await?;
        found.take_kvs().into_iter().next().map(range::entry).transpose()
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        range::list(&self.endpoints, prefix, false).await
    }

    async fn list_keys(&self, prefix: &str) -> Result<Listing> {
        range::list(&self.endpoints, prefix, true).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        txn.check()?;
        let txn = request(&txn);
        let ask = |client: Client| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        let done = self.endpoints.write(ask).await?;
        let revision = done.header().map(|header| revision(header.revision())).ok_or_else(headless)?;
        Ok(TxnOutcome { succeeded: done.succeeded(), revision })
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        if from == Revision::ZERO {
            return Err(Error::invalid("watch from revision 0"));
        }
        watch::open(&self.endpoints, prefix, from).await
    }

    async fn compact(&self, at: Revision) -> Result<()> {
        let at = at.0.cast_signed();
        self.endpoints.write(|client| async move { client.kv_client().compact(at, None).await }).await?;
        Ok(())
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        if ttl.is_zero() {
            return Err(Error::invalid("lease of no length"));
        }
        let ttl = seconds(ttl);
        let ask = |client: Client| async move { client.lease_client().grant(ttl, None).await };
        let granted = self.endpoints.write(ask).await?;
        Ok(LeaseId(granted.id()))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        // Renewing twice does no harm, so this may go to the next member like a read.
        let ttl = self.endpoints.read(|client| call::renew(client, lease)).await?;
        let ttl = u64::try_from(ttl).ok().filter(|ttl| *ttl > 0).ok_or(Error::LeaseGone)?;
        Ok(Duration::from_secs(ttl))
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.endpoints.write(|client| async move { client.lease_client().revoke(lease.0).await }).await?;
        Ok(())
    }
}

fn request(txn: &Txn) -> etcd_client::Txn {
    let compares: Vec<_> = txn.compares().iter().map(compare).collect();
    let ops: Vec<_> = txn.ops().iter().map(op).collect();
    etcd_client::Txn::new().when(compares).and_then(ops)
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    match compare {
        Compare::ModRevision(key, at) => {
            etcd_client::Compare::mod_revision(key.as_str(), CompareOp::Equal, at.0.cast_signed())
        }
        Compare::CreateRevision(key, at) => {
            etcd_client::Compare::create_revision(key.as_str(), CompareOp::Equal, at.0.cast_signed())
        }
    }
}

fn op(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key.as_str(), value.to_vec(), options)
        }
        Op::Delete { key } => TxnOp::delete(key.as_str(), None),
    }
}

fn count_only() -> GetOptions {
    GetOptions::new().with_count_only()
}

/// etcd counts from 1 in an i64, so nothing is lost.
fn revision(number: i64) -> Revision {
    Revision(number.cast_unsigned())
}

/// etcd's leases are in whole seconds: rounded up, so that a lease never ends before its time.
fn seconds(ttl: Duration) -> i64 {
    let whole = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    i64::try_from(whole).unwrap_or(i64::MAX)
}

fn check_key(key: &str) -> Result<()> {
    match key.len() {
        0 => Err(Error::invalid("empty key")),
        1..=MAX_KEY_BYTES => Ok(()),
        _ => Err(Error::TooLarge { what: "key (bytes)", limit: MAX_KEY_BYTES }),
    }
}

/// Every answer of etcd has a header.
fn headless() -> Error {
    Error::Corrupt { reason: "etcd answered without a header".to_owned(), source: None }
}
