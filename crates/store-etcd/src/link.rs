//! The way to one member: a client of its own, over the sockets of the host.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, TlsOptions};
use hyper_util::rt::TokioIo;
use meridian_host::Network;
use meridian_store::{Error, Result};
use tonic::transport::{Endpoint, Uri};

/// Bound on making a connection. Well under any request timeout, so that a member that cannot be reached is told
/// apart from one that took a write and did not answer.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// HTTP/2 pings. etcd cuts clients that ping more often than every 5 s (`--grpc-keepalive-min-time`).
const PING_EVERY: Duration = Duration::from_secs(6);

/// How long a ping may go unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How members are reached.
pub(crate) struct Link {
    pub(crate) network: Arc<dyn Network>,
    /// `None`: plain text.
    pub(crate) tls: Option<TlsOptions>,
}

impl Link {
    /// A client of the member at `endpoint`, a URL. It connects when it is used, and again when it must.
    pub(crate) async fn client(&self, endpoint: &str) -> Result<Client> {
        let wrong = |cause: &dyn std::fmt::Display| Error::invalid(format!("etcd endpoint {endpoint}: {cause}"));
        let mut builder = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|error| wrong(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(tls.clone()).map_err(|error| wrong(&error))?;
        }
        let network = self.network.clone();
        let dial = move |uri: Uri| {
            let network = network.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(network.connect(&authority(&uri)).await?.io)) }
        };
        let channel = Channel::Tonic(builder.connect_with_connector_lazy(tower::service_fn(dial)));
        let options = ConnectOptions::new().with_require_leader(true);
        Client::from_channel(channel, Some(options)).await.map_err(|error| wrong(&error))
    }
}

/// `host:port` of a URL, with the scheme's own port if it names none.
fn authority(uri: &Uri) -> String {
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    format!("{}:{port}", uri.host().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_port_means_the_port_of_its_scheme() {
        for (url, expected) in [
            ("http://e1:2379", "e1:2379"),
            ("https://e1", "e1:443"),
            ("http://e1/", "e1:80"),
            ("http://[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(authority(&url.parse().unwrap()), expected);
        }
    }
}
