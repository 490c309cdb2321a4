//! The connecting end of TLS.

use std::io;
use std::sync::Arc;

use meridian_host::{Connection, Files};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::reload::Reloading;
use crate::{Error, HANDSHAKE_LIMIT, Identity, Pem, PemFiles, Role, provider};

/// Settings of a client that shows its own certificate; cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    settings: Arc<Reloading<Arc<ClientConfig>>>,
    /// What the server has to be.
    server_role: Role,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("server_role", &self.server_role).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// From memory. The server has to show a certificate of `pem.ca` for the name that is connected to, and that names
    /// `server_role`: a node's certificate does not make a control replica.
    pub fn from_pem(pem: &Pem, server_role: Role) -> Result<Self, Error> {
        Ok(Self { settings: Arc::new(Reloading::fixed(pem, build)?), server_role })
    }

    /// As [`ClientTls::from_pem`]; files that change later are used within seconds, unusable ones are logged and not
    /// used.
    pub async fn from_files(files: Arc<dyn Files>, paths: PemFiles, server_role: Role) -> Result<Self, Error> {
        Ok(Self { settings: Arc::new(Reloading::following(files, paths, build).await?), server_role })
    }

    /// Performs the handshake, for HTTP/2, with a server that is called `server_name` (a host name or an address,
    /// without port). Ends within 10 s.
    pub async fn connect(&self, connection: Connection, server_name: &str) -> io::Result<Connection> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let name = ServerName::try_from(server_name.to_owned()).map_err(invalid)?;
        let Connection { io, peer, local } = connection;
        let handshake = TlsConnector::from(Arc::clone(&*self.settings.current().await)).connect(name, io);
        let stream = tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let denied = |error| io::Error::new(io::ErrorKind::PermissionDenied, error);
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let identity = match certificates.first() {
            Some(certificate) => Identity::of_certificate(certificate).map_err(denied)?,
            None => return Err(denied(Error::NoIdentity("none was shown".to_owned()))),
        };
        if identity.role != self.server_role {
            let why = format!("the server is {identity}, but a {} was expected", self.server_role);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(Connection { io: Box::new(stream), peer, local })
    }
}

fn build(pem: &Pem) -> Result<Arc<ClientConfig>, Error> {
    let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let mut config = versions
        .map_err(Error::Tls)?
        .with_root_certificates(pem.roots()?)
        .with_client_auth_cert(pem.chain()?, pem.private_key()?)
        .map_err(Error::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // As on the server: every connection shows its certificates.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
