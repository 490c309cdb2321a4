//! The certificate authority of a cluster: makes itself, issues certificates.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::{Error, Identity, Pem, Role};

/// Days that a certificate of a process or operator is valid: a year is what people manage to renew by hand.
pub const LEAF_DAYS: u32 = 365;
/// Ten years: replacing the authority means touching every machine at once.
const AUTHORITY_DAYS: u32 = 3650;
/// Clocks of a fleet differ; a certificate that is not yet valid on one machine is an outage.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A certificate authority with its key.
pub struct Authority {
    certificate_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, as PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS #8 as PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one for `cluster`, valid from `now_unix_ms` on.
    pub fn generate(cluster: &str, now_unix_ms: i64) -> Result<Self, Error> {
        let mut params = params(&format!("Meridian {cluster} authority"), now_unix_ms, AUTHORITY_DAYS);
        // It signs processes and people, never another authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(Error::Issue)?;
        let key_pem = key.serialize_pem();
        let own = CertifiedIssuer::self_signed(params, key).map_err(Error::Issue)?;
        Self::from_pem(&own.pem(), &key_pem)
    }

    /// One that was made before.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let key = KeyPair::from_pem(key_pem).map_err(Error::Issue)?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(Error::Issue)?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned(), issuer })
    }

    /// What everyone verifies against.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(crate) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A certificate for `identity`, which is reached at `hosts` (names and addresses), valid for `days`.
    pub fn issue(&self, identity: &Identity, hosts: &[String], now_unix_ms: i64, days: u32) -> Result<Issued, Error> {
        let mut params = params(&identity.name, now_unix_ms, days);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if identity.role != Role::Operator {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.subject_alt_names.push(SanType::URI(ia5(&identity.uri())?));
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(ia5(host)?),
            });
        }
        let key = KeyPair::generate().map_err(Error::Issue)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::Issue)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// As [`Authority::issue`] for [`LEAF_DAYS`], together with the authority's certificate: all that
    /// [`ServerTls::from_pem`](crate::ServerTls::from_pem) and [`ClientTls::from_pem`](crate::ClientTls::from_pem)
    /// need.
    pub fn issue_pem(&self, identity: &Identity, hosts: &[String], now_unix_ms: i64) -> Result<Pem, Error> {
        let issued = self.issue(identity, hosts, now_unix_ms, LEAF_DAYS)?;
        Ok(Pem {
            ca: Some(self.certificate_pem.clone().into_bytes()),
            certificate: issued.certificate_pem.into_bytes(),
            key: issued.key_pem.into_bytes(),
        })
    }
}

fn params(common_name: &str, now_unix_ms: i64, days: u32) -> CertificateParams {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_millis(u64::try_from(now_unix_ms).unwrap_or(0));
    let mut params = CertificateParams::default();
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::from_secs(u64::from(days) * 24 * 3600);
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(common_name.to_owned()));
    params
}

fn ia5(text: &str) -> Result<Ia5String, Error> {
    Ia5String::try_from(text).map_err(Error::Issue)
}
