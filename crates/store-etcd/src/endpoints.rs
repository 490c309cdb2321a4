//! The members of the cluster: which one is asked, and when the next one is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::Client;
use meridian_host::Network;
use meridian_store::{Error, Result};
use tracing::debug;

use crate::EtcdOptions;
use crate::failure::{self, Failure};
use crate::link::Link;

/// Largest answer that is decoded. etcd sends what was asked for in one message, whatever its size.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// What etcd-client returns.
type Answer<T> = Result<T, etcd_client::Error>;

/// One client a member. All calls go to one of them until it fails, then to the next.
pub(crate) struct Endpoints {
    members: Vec<Member>,
    preferred: AtomicUsize,
    link: Link,
    request_timeout: Duration,
}

struct Member {
    endpoint: String,
    client: Client,
}

impl Endpoints {
    pub(crate) async fn new(options: EtcdOptions, network: Arc<dyn Network>) -> Result<Self> {
        let link = Link { network, tls: options.check().await? };
        let mut members = Vec::with_capacity(options.endpoints.len());
        for endpoint in options.endpoints {
            let client = link.client(&endpoint).await?;
            members.push(Member { endpoint, client });
        }
        Ok(Self { members, preferred: AtomicUsize::new(0), link, request_timeout: options.request_timeout })
    }

    /// Asks one member after the other until one answers.
    pub(crate) async fn read<T, F>(&self, ask: impl Fn(Client) -> F + Send + Sync) -> Result<T>
    where
        F: Future<Output = Answer<T>> + Send,
    {
        let mut last = None;
        for (index, member) in self.in_order() {
            match self.attempt(&member.endpoint, ask(member.client.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.is_of_member() => {
                    self.avoid(index, &failure);
                    last = Some(failure);
                }
                Err(failure) => return Err(failure.into_read_error()),
            }
        }
        Err(last.map_or_else(none_left, Failure::into_read_error))
    }

    /// Asks one member, and another only when the first certainly did not act.
    pub(crate) async fn write<T, F>(&self, ask: impl Fn(Client) -> F + Send + Sync) -> Result<T>
    where
        F: Future<Output = Answer<T>> + Send,
    {
        let mut last = None;
        for (index, member) in self.in_order() {
            match self.attempt(&member.endpoint, ask(member.client.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    if failure.is_of_member() {
                        self.avoid(index, &failure);
                    }
                    if !failure.was_not_sent() {
                        return Err(failure.into_write_error());
                    }
                    last = Some(failure);
                }
            }
        }
        Err(last.map_or_else(none_left, Failure::into_write_error))
    }

    /// Opens something long-lived on a connection of its own, at the first member that lets it.
    pub(crate) async fn open<T, F>(&self, ask: impl Fn(Client) -> F + Send + Sync) -> Result<T>
    where
        F: Future<Output = Answer<T>> + Send,
    {
        let mut last = None;
        for (index, member) in self.in_order() {
            let own = self.link.client(&member.endpoint).await?;
            match self.attempt(&member.endpoint, ask(own)).await {
                Ok(opened) => return Ok(opened),
                Err(failure) => {
                    self.avoid(index, &failure);
                    last = Some(failure);
                }
            }
        }
        Err(last.map_or_else(none_left, Failure::into_read_error))
    }

    /// Every member once, the preferred one first.
    fn in_order(&self) -> impl Iterator<Item = (usize, &Member)> {
        let first = self.preferred.load(Ordering::Relaxed);
        self.members.iter().enumerate().cycle().skip(first).take(self.members.len())
    }

    /// Prefers the next member from now on, unless another call has moved on already.
    fn avoid(&self, index: usize, failure: &Failure) {
        let next = (index + 1) % self.members.len().max(1);
        debug!(member = index, %failure, "etcd member failed");
        // Losing the race means that somebody else moved it.
        let _ = self.preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn attempt<T>(&self, endpoint: &str, asked: impl Future<Output = Answer<T>> + Send) -> Result<T, Failure> {
        // Boxed: the client's futures are several kilobytes, and would be part of each caller's.
        match tokio::time::timeout(self.request_timeout, Box::pin(asked)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failure::classify(endpoint, error)),
            Err(_) => Err(Failure::silent(endpoint, self.request_timeout)),
        }
    }
}

/// There is at least one endpoint (checked in the options), so some failure was seen.
fn none_left() -> Error {
    Error::unavailable("no etcd endpoint is left to ask")
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members.iter().map(|m| &m.endpoint)).finish()
    }
}
