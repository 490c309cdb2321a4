//! Which cluster to use and how; mistakes are found before anything connects.

use std::path::PathBuf;
use std::time::Duration;

use etcd_client::{Certificate, Identity, TlsOptions};
use meridian_store::{Error, Result};

use crate::link::CONNECT_TIMEOUT;

/// How to reach an etcd cluster.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// Client URLs of the members, all `http://host:port` or all `https://host:port`.
    pub endpoints: Vec<String>,
    /// PEM file of the authorities that sign the members' certificates. Needed for https, refused for http.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our client certificate, with [`EtcdOptions::key_file`].
    pub cert_file: Option<PathBuf>,
    /// PEM file of the private key of our client certificate.
    pub key_file: Option<PathBuf>,
    /// Bound on one request to one member. A read may go on to each other member in turn.
    pub request_timeout: Duration,
}

impl EtcdOptions {
    /// Plain defaults for `endpoints`: no TLS, requests within 3 s (a leader election takes about 1.7 s).
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            request_timeout: Duration::from_secs(3),
        }
    }

    /// Checks everything and reads the files. `None`: without TLS.
    pub(crate) async fn check(&self) -> Result<Option<TlsOptions>> {
        if self.request_timeout <= CONNECT_TIMEOUT {
            return Err(Error::invalid(format!("etcd request timeout must be longer than {CONNECT_TIMEOUT:?}")));
        }
        match self.is_https()? {
            true => Ok(Some(self.tls().await?)),
            false if self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some() => Err(
                Error::invalid("etcd endpoints are http:// but TLS files are given: use https://, or drop the files"),
            ),
            false => Ok(None),
        }
    }

    fn is_https(&self) -> Result<bool> {
        if self.endpoints.is_empty() {
            return Err(Error::invalid("no etcd endpoint is given"));
        }
        let mut https = 0;
        for endpoint in &self.endpoints {
            if endpoint.starts_with("https://") {
                https += 1;
            } else if !endpoint.starts_with("http://") {
                let reason = format!("etcd endpoint {endpoint} must begin with http:// or https://");
                return Err(Error::invalid(reason));
            }
        }
        match https {
            0 => Ok(false),
            n if n == self.endpoints.len() => Ok(true),
            _ => Err(Error::invalid("etcd endpoints mix http:// and https://: all must be one of them")),
        }
    }

    async fn tls(&self) -> Result<TlsOptions> {
        let Some(ca_file) = &self.ca_file else {
            return Err(Error::invalid("etcd endpoints are https:// but no CA file is given"));
        };
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("etcd CA", ca_file).await?));
        match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => {
                let cert = read("etcd client certificate", cert).await?;
                let key = read("etcd client key", key).await?;
                Ok(tls.identity(Identity::from_pem(cert, key)))
            }
            (None, None) => Ok(tls),
            _ => Err(Error::invalid("an etcd client certificate and its key must be given together")),
        }
    }
}

async fn read(what: &str, file: &PathBuf) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| Error::invalid(format!("cannot read {what} file {}: {e}", file.display()));
    tokio::fs::read(file).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(endpoints: &[&str], files: [Option<&str>; 3], expected: &str) {
        let [ca_file, cert_file, key_file] = files.map(|file| file.map(PathBuf::from));
        let options = EtcdOptions { ca_file, cert_file, key_file, ..EtcdOptions::new(endpoints.iter().copied()) };
        match options.check().await {
            Ok(_) => assert_eq!(expected, ""),
            Err(error) => {
                let text = error.to_string();
                assert!(!expected.is_empty() && text.contains(expected), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn mistakes_are_named_before_anything_connects() {
        let none = [None; 3];
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, "not read until it connects").unwrap();
        let ca = ca.to_str();
        check(&["http://127.0.0.1:1", "http://127.0.0.1:2"], none, "").await;
        check(&["https://127.0.0.1:1"], [ca, None, None], "").await;
        check(&["https://127.0.0.1:1"], [ca, ca, ca], "").await;
        check(&[], none, "no etcd endpoint").await;
        check(&["127.0.0.1:2379"], none, "127.0.0.1:2379 must begin with http:// or https://").await;
        check(&["http://127.0.0.1:1", "https://127.0.0.1:2"], none, "mix http:// and https://").await;
        check(&["http://127.0.0.1:1"], [ca, None, None], "TLS files are given").await;
        check(&["http://127.0.0.1:1"], [None, None, ca], "TLS files are given").await;
        check(&["https://127.0.0.1:1"], none, "no CA file").await;
        check(&["https://127.0.0.1:1"], [ca, ca, None], "given together").await;
        check(&["https://127.0.0.1:1"], [Some("/absent.pem"), None, None], "cannot read etcd CA file /absent.pem")
            .await;
    }
}
