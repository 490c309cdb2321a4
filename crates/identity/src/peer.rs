//! The connecting end of TLS between nodes: the other end is who its certificate names, wherever it runs.
//!
//! Nodes are told each other's names by the control plane and move between machines; what has to be true is the identity,
//! and not a host name. So a node's certificate needs no `--host`, and one node's certificate does not make another.

use std::io;
use std::sync::Arc;

use meridian_host::{Connection, Files};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::reload::Reloading;
use crate::{Error, HANDSHAKE_LIMIT, Identity, Pem, PemFiles, provider};

/// Settings of a node that connects to other nodes and shows its own certificate; cheap to clone.
#[derive(Clone)]
pub struct PeerTls {
    settings: Arc<Reloading<Arc<ClientConfig>>>,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerTls")
    }
}

impl PeerTls {
    /// From memory; the other end has to show a certificate of `pem.ca`.
    pub fn from_pem(pem: &Pem) -> Result<Self, Error> {
        Ok(Self { settings: Arc::new(Reloading::fixed(pem, build)?) })
    }

    /// As [`PeerTls::from_pem`]; files that change later are used within seconds, unusable ones are logged and not used.
    pub async fn from_files(files: Arc<dyn Files>, paths: PemFiles) -> Result<Self, Error> {
        Ok(Self { settings: Arc::new(Reloading::following(files, paths, build).await?) })
    }

    /// Performs the handshake, for HTTP/2; `expected` is who has to answer. Ends within 10 s.
    pub async fn connect(&self, connection: Connection, expected: &Identity) -> io::Result<Connection> {
        let Connection { io, peer, local } = connection;
        // An address is no name to be sent or verified.
        let name = ServerName::IpAddress(peer.ip().into());
        let handshake = TlsConnector::from(Arc::clone(&*self.settings.current().await)).connect(name, io);
        let stream = tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let denied = |error| io::Error::new(io::ErrorKind::PermissionDenied, error);
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let identity = match certificates.first() {
            Some(certificate) => Identity::of_certificate(certificate).map_err(denied)?,
            None => return Err(denied(Error::NoIdentity("none was shown".to_owned()))),
        };
        if identity != *expected {
            let why = format!("the other end is {identity}, but {expected} was expected");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(Connection { io: Box::new(stream), peer, local })
    }
}

fn build(pem: &Pem) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let verifier = ByAuthority { roots: pem.roots()?, provider: provider.clone() };
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = versions
        .map_err(Error::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(pem.chain()?, pem.private_key()?)
        .map_err(Error::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Every connection shows its certificates.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Verifies all but the host name, as rustls does; the identity is compared after the handshake, before a byte is sent.
#[derive(Debug)]
struct ByAuthority {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
