//! The operators' client: one connection to one control replica, with deadlines and errors that say what to do.

use std::error::Error;
use std::io;
use std::time::Duration;

use meridian_host::Host;
use meridian_identity::ClientTls;
use meridian_proto::MAX_MESSAGE_BYTES;
use meridian_proto::admin::v1::admin_service_client::AdminServiceClient;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::dial::{HandshakeError, dial};

/// A call is answered within this time; a stream begins within it. A store that elects a new leader needs 2 s.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// The generated client, every call with a deadline.
pub type Client = AdminServiceClient<InterceptedService<Channel, Deadline>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there, or it does not answer.
    #[error("no control plane at {endpoint}; is it running? set --admin or MERIDIAN_ADMIN")]
    Unreachable {
        /// `host:port`.
        endpoint: String,
        /// What the network said.
        #[source]
        source: tonic::transport::Error,
    },
    /// Someone answers, but the handshake failed.
    #[error("no trust between this client and {endpoint}; check the CA, the certificate and its key")]
    Untrusted {
        /// `host:port`.
        endpoint: String,
        /// What TLS said.
        #[source]
        source: tonic::transport::Error,
    },
    /// The endpoint is none.
    #[error("{endpoint:?} is no address; expected host:port, for example 127.0.0.1:7100")]
    Address {
        /// As it was given.
        endpoint: String,
    },
}

/// Gives every call its deadline, which both ends keep.
#[derive(Debug, Clone, Copy)]
pub struct Deadline;

impl Interceptor for Deadline {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(CALL_DEADLINE);
        Ok(request)
    }
}

/// Connects to the admin API at `endpoint` (`host:port`); the connection is there when this returns. It is made again
/// by itself when it breaks.
pub async fn connect(endpoint: &str, tls: Option<ClientTls>, host: &Host) -> Result<Client, ConnectError> {
    if !is_authority(endpoint) {
        return Err(ConnectError::Address { endpoint: endpoint.to_owned() });
    }
    let channel = dial(endpoint, tls, host).await.map_err(|source| {
        let endpoint = endpoint.to_owned();
        if is_untrusted(&source) {
            ConnectError::Untrusted { endpoint, source }
        } else {
            ConnectError::Unreachable { endpoint, source }
        }
    })?;
    Ok(AdminServiceClient::with_interceptor(channel, Deadline).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

fn is_authority(endpoint: &str) -> bool {
    let authority: Option<http::uri::Authority> = endpoint.parse().ok();
    authority.is_some_and(|authority| !authority.host().is_empty() && authority.port_u16().is_some())
}

/// Whether the cause is the handshake: looks down the chain, where an `io::Error` hides what it wraps.
fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<HandshakeError>() {
            return true;
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use meridian_identity::{Authority, Identity, Role};

    use super::*;

    fn tls() -> ClientTls {
        let authority = Authority::generate("test", Host::real().clock.now_unix_ms()).unwrap();
        let operator = Identity::new(Role::Operator, None, "ann").unwrap();
        let pem = authority.issue_pem(&operator, &[], Host::real().clock.now_unix_ms()).unwrap();
        ClientTls::from_pem(&pem, Role::Control).unwrap()
    }

    #[tokio::test]
    async fn errors_tell_an_absent_plane_from_a_distrusted_one_and_from_a_slip_of_the_pen() {
        let host = Host::real();
        let mut listener = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        // Whoever listens there knows no TLS and hangs up.
        let (untrusted, _) = tokio::join!(connect(&endpoint, Some(tls()), &host), async {
            drop(listener.accept().await.unwrap());
        });
        let untrusted = untrusted.unwrap_err();
        assert!(matches!(untrusted, ConnectError::Untrusted { .. }), "{untrusted:?}");
        drop(listener);
        let absent = connect(&endpoint, None, &host).await.unwrap_err();
        assert!(matches!(absent, ConnectError::Unreachable { .. }), "{absent:?}");
        let expected = format!("no control plane at {endpoint}; is it running? set --admin or MERIDIAN_ADMIN");
        assert_eq!(absent.to_string(), expected);
        for slip in ["", "127.0.0.1", "http://127.0.0.1:1", ":7100", "a b:1"] {
            let error = connect(slip, None, &host).await.unwrap_err();
            assert!(matches!(error, ConnectError::Address { .. }), "{slip}: {error:?}");
        }
    }
}
