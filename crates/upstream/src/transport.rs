//! What all providers of a process share.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use meridian_host::{Environment, Files, Host};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::BuildError;
use crate::connect::{Connector, Tcp};

/// Idle connections live this long: under the 60 s after which common servers and load balancers hang up (AWS 60 s, nginx
/// 75 s), so that a request seldom meets a connection that is just being closed. One that hangs up sooner (uvicorn: 5 s) is
/// noticed as it does.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Idle connections kept for one provider: what a burst of so many requests leaves behind, so that the next one need not
/// shake hands before its first token. Each holds about 20 KiB, 10 MiB in all, and none for longer than [`POOL_IDLE`].
pub(crate) const POOL_MAX_IDLE: usize = 512;

/// Largest head, and most that one read takes. Streams come in pieces of a few hundred bytes; hyper's default of 400 KiB is
/// for file downloads. So much of an answer may be ahead of its client's reading, beside what the kernel holds.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// What providers are offered in the TLS handshake: HTTP/1.1 and nothing else, so that every request has a connection of its
/// own. A client's pool keeps one HTTP/2 connection to a host, and lets requests beyond the number that the other end takes
/// at once wait on it in silence; and slow readers use up the window that all its streams share (docs/adr/0012).
const ALPN: &[u8] = b"http/1.1";

/// Options of a [`Transport`].
#[derive(Debug, Clone)]
pub struct Options {
    /// The machine.
    pub host: Host,
    /// Connect from this address, if the machine has several.
    pub egress_address: Option<IpAddr>,
    /// PEM file of certificate authorities that are trusted beside the public ones: for providers inside a company.
    pub extra_ca: Option<PathBuf>,
}

/// What all providers of a process share; cheap to clone.
#[derive(Clone)]
pub struct Transport {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) tcp: Tcp,
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("source", &self.tcp.source).finish_non_exhaustive()
    }
}

pub(crate) type Pool = Client<Connector, Full<Bytes>>;

impl Transport {
    /// Reads the additional certificate authorities.
    ///
    /// # Errors
    /// When their file cannot be read or holds none.
    pub async fn new(options: Options) -> Result<Self, BuildError> {
        let Options { host, egress_address, extra_ca } = options;
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &extra_ca {
            let added = authorities(host.files.as_ref(), path).await;
            let added = added.map_err(|source| BuildError::Authorities { path: path.clone(), source })?;
            let (usable, _) = roots.add_parsable_certificates(added);
            if usable == 0 {
                let source = io::Error::new(io::ErrorKind::InvalidData, "no certificate in it");
                return Err(BuildError::Authorities { path: path.clone(), source });
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(BuildError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let tcp = Tcp { net: host.net, source: egress_address };
        Ok(Self { files: host.files, environment: host.environment, tcp, tls: Arc::new(tls) })
    }

    /// How providers are connected to; TCP and TLS have `deadline` together.
    pub(crate) fn connector(&self, deadline: Duration) -> Connector {
        Connector::new(self.tcp.clone(), Arc::clone(&self.tls), deadline)
    }

    pub(crate) fn pool(&self, connector: Connector, max_idle: usize) -> Pool {
        Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(max_idle)
            // One that meets a connection which its server has just closed goes to another, if nothing of it was sent.
            .retry_canceled_requests(true)
            .http1_max_buf_size(READ_BUFFER_BYTES)
            .build(connector)
    }
}

async fn authorities(files: &dyn Files, path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = files.read(path).await?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}
