//! Certificates and keys as PEM, in memory or in files, and what rustls makes of them.

use std::path::{Path, PathBuf};

use meridian_host::Files;
use meridian_types::Digest;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// PEM texts.
#[derive(Clone)]
pub struct Pem {
    /// Authorities that the other end is verified against; none for a public listener.
    pub ca: Option<Vec<u8>>,
    /// Own certificate, then the intermediate ones.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

/// Where PEM texts are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFiles {
    /// Authorities; none for a public listener.
    pub ca: Option<PathBuf>,
    /// Own certificate, then the intermediate ones.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pem")
    }
}

impl PemFiles {
    pub(crate) async fn read(&self, files: &dyn Files) -> Result<Pem, Error> {
        let ca = match &self.ca {
            Some(path) => Some(read(files, path).await?),
            None => None,
        };
        Ok(Pem { ca, certificate: read(files, &self.certificate).await?, key: read(files, &self.key).await? })
    }
}

impl Pem {
    pub(crate) fn digest(&self) -> Digest {
        Digest::of_parts([self.ca.as_deref().unwrap_or_default(), &self.certificate, &self.key])
    }

    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        certificates("certificate chain", &self.certificate)
    }

    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        // The parser's message may quote what it read: say only that it is none.
        let why = || Error::Pem { what: "private key", why: "it holds no PKCS #8, PKCS #1 or SEC 1 key".to_owned() };
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| why())
    }

    pub(crate) fn roots(&self) -> Result<RootCertStore, Error> {
        const WHAT: &str = "CA certificates";
        let ca = self.ca.as_ref().ok_or_else(|| Error::Pem { what: WHAT, why: "there are none".to_owned() })?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(WHAT, ca)? {
            roots.add(certificate).map_err(Error::Tls)?;
        }
        Ok(roots)
    }
}

async fn read(files: &dyn Files, path: &Path) -> Result<Vec<u8>, Error> {
    files.read(path).await.map_err(|source| Error::File { action: "read", path: path.to_owned(), source })
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(Error::Pem { what, why: "it holds no certificate".to_owned() }),
        Ok(all) => Ok(all),
        Err(error) => Err(Error::Pem { what, why: error.to_string() }),
    }
}
