//! A gRPC channel to one replica, over the host's sockets.

use std::io;

use meridian_host::Host;
use meridian_identity::ClientTls;
use meridian_proto::transport;
use tonic::transport::Channel;

/// The handshake failed: whoever answered, there is no trust.
#[derive(Debug, thiserror::Error)]
#[error("the TLS handshake failed")]
pub(crate) struct HandshakeError(#[source] pub(crate) io::Error);

/// Opens a channel, connected when this returns. Each lane has one of its own: bulk configuration must not delay
/// liveness.
pub(crate) async fn dial(
    endpoint: &str,
    tls: Option<ClientTls>,
    host: &Host,
) -> Result<Channel, tonic::transport::Error> {
    let (net, authority) = (host.net.clone(), endpoint.to_owned());
    transport::connect(endpoint, move || {
        let (net, tls, authority) = (net.clone(), tls.clone(), authority.clone());
        async move {
            let connection = net.connect(&authority).await?;
            match tls {
                None => Ok(connection),
                Some(tls) => tls
                    .connect(connection, server_name(&authority))
                    .await
                    .map_err(|error| io::Error::other(HandshakeError(error))),
            }
        }
    })
    .await
}

/// The host part of `host:port`, without the brackets of an IPv6 address.
fn server_name(authority: &str) -> &str {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_name_is_the_host_alone() {
        for (authority, expected) in
            [("control-1:7100", "control-1"), ("127.0.0.1:1", "127.0.0.1"), ("[::1]:7100", "::1"), ("bare", "bare")]
        {
            assert_eq!(server_name(authority), expected);
        }
    }
}
