//! The accepting end of TLS.

use std::io;
use std::sync::Arc;

use meridian_host::{Connection, Files};
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

use crate::reload::Reloading;
use crate::{Error, HANDSHAKE_LIMIT, Identity, Pem, PemFiles, provider};

/// Settings of a listener; cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    settings: Arc<Reloading<Settings>>,
}

struct Settings {
    config: Arc<ServerConfig>,
    /// Whether clients have to show a certificate of the authority.
    mutual: bool,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// From memory. With `pem.ca`, clients have to show a certificate of that authority which names an [`Identity`], and
    /// the protocol is HTTP/2; without, the listener is public and speaks HTTP/2 and HTTP/1.1.
    pub fn from_pem(pem: &Pem) -> Result<Self, Error> {
        Ok(Self { settings: Arc::new(Reloading::fixed(pem, build)?) })
    }

    /// As [`ServerTls::from_pem`]; files that change later are used within seconds, unusable ones are logged and not
    /// used.
    pub async fn from_files(files: Arc<dyn Files>, paths: PemFiles) -> Result<Self, Error> {
        Ok(Self { settings: Arc::new(Reloading::following(files, paths, build).await?) })
    }

    /// Performs the handshake. The identity is there if, and only if, the listener is not public; a client without one
    /// is refused. Ends within 10 s.
    pub async fn accept(&self, connection: Connection) -> io::Result<(Connection, Option<Identity>)> {
        let settings = self.settings.current().await;
        let Connection { io, peer, local } = connection;
        let handshake = TlsAcceptor::from(settings.config.clone()).accept(io);
        let stream = tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let identity = match stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
            Some(certificate) if settings.mutual => Some(Identity::of_certificate(certificate).map_err(denied)?),
            None if settings.mutual => return Err(denied(Error::NoIdentity("none was shown".to_owned()))),
            _ => None,
        };
        Ok((Connection { io: Box::new(stream), peer, local }, identity))
    }
}

fn denied(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, error)
}

fn build(pem: &Pem) -> Result<Settings, Error> {
    let versions = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let versions = versions.map_err(Error::Tls)?;
    let mutual = pem.ca.is_some();
    let certificates = if mutual {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(pem.roots()?), provider())
            .build()
            .map_err(|error| Error::Pem { what: "CA certificates", why: error.to_string() })?;
        versions.with_client_cert_verifier(verifier)
    } else {
        versions.with_no_client_auth()
    };
    let mut config = certificates.with_single_cert(pem.chain()?, pem.private_key()?).map_err(Error::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    if mutual {
        // A resumed session would skip the look at the client's certificate: connections are few and last long, so a
        // full handshake for each costs nothing that anyone notices.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    Ok(Settings { config: Arc::new(config), mutual })
}
