//! Who a process or a person is, as a certificate says it.

use std::fmt;
use std::str::FromStr;

use meridian_types::RegionName;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Error;

/// Scheme and trust domain of the URI (<https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>).
const PREFIX: &str = "spiffe://meridian/";
/// Stands for the region of an identity that belongs to none.
const NO_REGION: &str = "-";
/// As long as a DNS label: names stand in store keys, logs and host names.
const MAX_NAME: usize = 63;

/// What the bearer of a certificate may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A control replica.
    Control,
    /// A node that serves clients.
    Node,
    /// A process that only answers DNS.
    Dns,
    /// A person or a pipeline that calls the admin API.
    Operator,
}

/// Who the other end of a verified connection is; in a certificate
/// `spiffe://meridian/<role>/<region or ->/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// What it may do.
    pub role: Role,
    /// Where it belongs; none for replicas and operators that act for the whole fleet.
    pub region: Option<RegionName>,
    /// Name of the replica, node or operator.
    pub name: String,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Control, Self::Node, Self::Dns, Self::Operator];

    /// As it stands in the URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Node => "node",
            Self::Dns => "dns",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| name_error("role", text, "one of control, node, dns, operator"))
    }
}

impl Identity {
    /// Checks the name, and that a node or DNS process says where it belongs.
    pub fn new(role: Role, region: Option<RegionName>, name: &str) -> Result<Self, Error> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._@".contains(&b);
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(allowed) {
            return Err(name_error("identity name", name, "1 to 63 of a-z, 0-9, '-', '.', '_' and '@'"));
        }
        if region.is_none() && matches!(role, Role::Node | Role::Dns) {
            return Err(name_error("region", "", "nodes and DNS processes belong to a region"));
        }
        Ok(Self { role, region, name: name.to_owned() })
    }

    /// Whether it may report and be configured as the node (or DNS process) `name` of `region`.
    pub fn may_act_as_node(&self, name: &str, region: &str) -> bool {
        matches!(self.role, Role::Node | Role::Dns)
            && self.name == name
            && self.region.as_ref().is_some_and(|own| own.as_str() == region)
    }

    /// Whether it may call the admin API.
    pub fn may_operate(&self) -> bool {
        self.role == Role::Operator
    }

    /// The URI that stands in the certificate.
    pub fn uri(&self) -> String {
        self.to_string()
    }

    /// From the DER of a certificate whose chain has been verified already.
    pub fn of_certificate(der: &[u8]) -> Result<Self, Error> {
        let unreadable = |why: String| Error::NoIdentity(format!("unreadable: {why}"));
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
        let names = certificate.subject_alternative_name().map_err(|error| unreadable(error.to_string()))?;
        let mut uris =
            names.iter().flat_map(|extension| &extension.value.general_names).filter_map(|name| match name {
                GeneralName::URI(uri) if uri.starts_with(PREFIX) => Some(*uri),
                _ => None,
            });
        match (uris.next(), uris.next()) {
            (Some(uri), None) => uri.parse(),
            (None, _) => Err(Error::NoIdentity(format!("no alternative name begins with {PREFIX}"))),
            (Some(_), Some(_)) => Err(Error::NoIdentity("it names more than one".to_owned())),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = self.region.as_ref().map_or(NO_REGION, RegionName::as_str);
        write!(f, "{PREFIX}{}/{region}/{}", self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = Error;

    fn from_str(uri: &str) -> Result<Self, Error> {
        let wrong = || name_error("identity", uri, "spiffe://meridian/<role>/<region or ->/<name>");
        let path = uri.strip_prefix(PREFIX).ok_or_else(wrong)?;
        let mut parts = path.split('/');
        let (Some(role), Some(region), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let region = match region {
            NO_REGION => None,
            text => Some(RegionName::new(text).map_err(|_| wrong())?),
        };
        Self::new(role.parse()?, region, name)
    }
}

fn name_error(what: &'static str, text: &str, allowed: &'static str) -> Error {
    // What is wrong may also be very long.
    Error::Name { what, text: text.chars().take(120).collect(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back_as_they_were_written() {
        for uri in [
            "spiffe://meridian/control/-/cp-1",
            "spiffe://meridian/node/eu-west/eu-west-1",
            "spiffe://meridian/dns/us-west/ns1",
            "spiffe://meridian/operator/-/alice@example.com",
        ] {
            assert_eq!(uri.parse::<Identity>().unwrap().uri(), uri);
        }
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for uri in [
            "",
            "spiffe://other/node/eu-west/n",
            "spiffe://meridian/root/-/n",
            "spiffe://meridian/node/-/n",
            "spiffe://meridian/node/eu-west",
            "spiffe://meridian/node/eu-west/n/more",
            "spiffe://meridian/node/eu-west/",
            "spiffe://meridian/node/EU/n",
            "spiffe://meridian/operator/-/a b",
        ] {
            assert!(uri.parse::<Identity>().is_err(), "{uri}");
        }
    }

    #[test]
    fn a_node_acts_for_itself_alone() {
        let check = |uri: &str, expected: bool| {
            let identity: Identity = uri.parse().unwrap();
            assert_eq!(identity.may_act_as_node("n1", "eu-west"), expected, "{uri}");
        };
        check("spiffe://meridian/node/eu-west/n1", true);
        check("spiffe://meridian/dns/eu-west/n1", true);
        check("spiffe://meridian/node/eu-west/n2", false);
        check("spiffe://meridian/node/us-west/n1", false);
        check("spiffe://meridian/control/eu-west/n1", false);
        check("spiffe://meridian/operator/eu-west/n1", false);
    }
}
