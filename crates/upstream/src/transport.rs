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

/// Idle connections live this long: under the 60 s after which common servers and load balancers hang up, so that a
/// request seldom meets a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Idle connections kept for one provider; each holds about 20 KiB.
pub(crate) const POOL_MAX_IDLE: usize = 128;

/// Largest head, and most that one read takes, on HTTP/1.1. Streams come in pieces of a few hundred bytes; hyper's
/// default of 400 KiB is for file downloads.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;

/// How much one HTTP/2 answer may send ahead of its client's reading.
const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all answers on one connection.
const HTTP2_CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// An HTTP/2 connection that is black-holed must be found out although requests only wait on it.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(10);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(5);

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
    tls: ClientConfig,
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
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(BuildError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = Tcp { net: host.net, source: egress_address };
        Ok(Self { files: host.files, environment: host.environment, tcp, tls })
    }

    pub(crate) fn pool(&self, connect_deadline: Duration, max_idle: usize) -> Pool {
        let connector = Connector::new(self.tcp.clone(), self.tls.clone(), connect_deadline);
        Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(max_idle)
            .http1_max_buf_size(HTTP1_BUFFER_BYTES)
            .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
            .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .build(connector)
    }
}

async fn authorities(files: &dyn Files, path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = files.read(path).await?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}
