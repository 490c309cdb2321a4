//! Content of the record types that have a form of their own, and how it is written in zone files: MX, SRV (RFC 2782),
//! CAA (RFC 8659), SVCB and HTTPS (RFC 9460).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::{DomainName, NameError};

/// Longest CAA tag: longer ones are in no registry.
const MAX_TAG: usize = 15;

/// Why a text is no content of its type; says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too few or too many fields.
    #[error("write {0}")]
    Form(&'static str),
    /// A field that is no number of its range.
    #[error("{text:?} is no number from 0 to {max}")]
    Number {
        /// The field.
        text: String,
        /// Of its range.
        max: u64,
    },
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A parameter of a service binding.
    #[error("{key}: {problem}")]
    Parameter {
        /// Its key.
        key: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// `None`: the root, which says that there is no mail here (RFC 7505).
    pub exchange: Option<DomainName>,
}

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// Of the service.
    pub port: u16,
    /// `None`: the root, which says that there is no such service here.
    pub target: Option<DomainName>,
}

/// Who may issue certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caa {
    /// 128: an issuer that does not know the tag must not issue.
    pub flags: u8,
    /// `issue`, `issuewild`, `iodef` ...
    pub tag: String,
    /// What it says.
    pub value: String,
}

/// How to reach a service. Priority 0 is an alias: it has a target and no parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceBinding {
    /// Lower is tried first; 0: an alias.
    pub priority: u16,
    /// `None`: the owner itself, and for an alias that the service does not exist.
    pub target: Option<DomainName>,
    /// What is known about it.
    pub parameters: ServiceParameters,
}

/// Parameters of a service binding (RFC 9460 section 7).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceParameters {
    /// Keys that a client has to understand, by number; sorted.
    pub mandatory: Vec<u16>,
    /// Protocols, for example `h2`.
    pub alpn: Vec<String>,
    /// Whether the protocol that the scheme implies is not offered.
    pub no_default_alpn: bool,
    /// Another port than the scheme's.
    pub port: Option<u16>,
    /// Addresses to begin with before the target's own are known.
    pub ipv4_hint: Vec<Ipv4Addr>,
    /// The same for IPv6.
    pub ipv6_hint: Vec<Ipv6Addr>,
}

impl FromStr for Mx {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let [preference, exchange] = fields(text, "a preference and a name, for example: 10 mail.example.com")?;
        Ok(Self { preference: number(preference, u16::MAX)?, exchange: target(exchange)? })
    }
}

impl FromStr for Srv {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let form = "priority, weight, port and name, for example: 10 5 5060 sip.example.com";
        let [priority, weight, port, name] = fields(text, form)?;
        let [priority, weight, port] = [priority, weight, port].map(|field| number(field, u16::MAX));
        Ok(Self { priority: priority?, weight: weight?, port: port?, target: target(name)? })
    }
}

impl FromStr for Caa {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        const FORM: RecordError = RecordError::Form("flags, tag and value, for example: 0 issue \"ca.example.net\"");
        let mut fields = text.trim().splitn(3, char::is_whitespace);
        let (Some(flags), Some(tag), Some(value)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(FORM);
        };
        let is_tag = (1..=MAX_TAG).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        if !is_tag || value.contains('"') {
            return Err(FORM);
        }
        Ok(Self { flags: number(flags, u8::MAX)?, tag: tag.to_ascii_lowercase(), value: value.to_owned() })
    }
}

impl FromStr for ServiceBinding {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let form = "priority, target and parameters, for example: 1 . alpn=h2,h3 port=8443";
        let mut fields = text.split_whitespace();
        let (Some(priority), Some(name)) = (fields.next(), fields.next()) else { return Err(RecordError::Form(form)) };
        let mut parameters = ServiceParameters::default();
        let mut seen = Vec::new();
        for field in fields {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
            let number = parameters.read(key, value)?;
            if seen.contains(&number) {
                return Err(wrong(key, "is written twice"));
            }
            seen.push(number);
        }
        let binding = Self { priority: number(priority, u16::MAX)?, target: target(name)?, parameters };
        if binding.priority == 0 && !seen.is_empty() {
            return Err(RecordError::Form("an alias (priority 0) without parameters"));
        }
        binding.parameters.check(&seen)?;
        Ok(binding)
    }
}

// Numbers of the keys: IANA, "Service Parameter Keys".
impl ServiceParameters {
    /// `mandatory`.
    pub const MANDATORY: u16 = 0;
    /// `alpn`.
    pub const ALPN: u16 = 1;
    /// `no-default-alpn`.
    pub const NO_DEFAULT_ALPN: u16 = 2;
    /// `port`.
    pub const PORT: u16 = 3;
    /// `ipv4hint`.
    pub const IPV4_HINT: u16 = 4;
    /// `ipv6hint`.
    pub const IPV6_HINT: u16 = 6;

    /// Reads one parameter; its key's number.
    fn read(&mut self, key: &str, value: &str) -> Result<u16, RecordError> {
        let number = key_number(key)?;
        match number {
            Self::MANDATORY => {
                self.mandatory = value.split(',').map(key_number).collect::<Result<_, _>>()?;
                self.mandatory.sort_unstable();
            }
            Self::ALPN => self.alpn = value.split(',').map(str::to_owned).collect(),
            Self::NO_DEFAULT_ALPN if !value.is_empty() => return Err(wrong(key, "has no value")),
            Self::NO_DEFAULT_ALPN => self.no_default_alpn = true,
            Self::PORT => self.port = Some(number_of(key, value)?),
            Self::IPV4_HINT => self.ipv4_hint = addresses(key, value)?,
            _ => self.ipv6_hint = addresses(key, value)?,
        }
        Ok(number)
    }

    /// What the RFC demands of the whole.
    fn check(&self, present: &[u16]) -> Result<(), RecordError> {
        if self.alpn.iter().any(|protocol| !(1..=255).contains(&protocol.len())) {
            return Err(wrong("alpn", "protocols have 1 to 255 bytes"));
        }
        if self.no_default_alpn && self.alpn.is_empty() {
            return Err(wrong("no-default-alpn", "needs alpn (RFC 9460 section 7.1.1)"));
        }
        let is_doubled = self.mandatory.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
        if is_doubled || self.mandatory.iter().any(|key| *key == Self::MANDATORY || !present.contains(key)) {
            return Err(wrong("mandatory", "names each key once, and keys that are there (RFC 9460 section 8)"));
        }
        Ok(())
    }
}

fn key_number(key: &str) -> Result<u16, RecordError> {
    match key {
        "mandatory" => Ok(ServiceParameters::MANDATORY),
        "alpn" => Ok(ServiceParameters::ALPN),
        "no-default-alpn" => Ok(ServiceParameters::NO_DEFAULT_ALPN),
        "port" => Ok(ServiceParameters::PORT),
        "ipv4hint" => Ok(ServiceParameters::IPV4_HINT),
        "ipv6hint" => Ok(ServiceParameters::IPV6_HINT),
        _ => Err(wrong(key, "is not known; mandatory, alpn, no-default-alpn, port, ipv4hint and ipv6hint are")),
    }
}

fn wrong(key: &str, problem: &'static str) -> RecordError {
    RecordError::Parameter { key: key.to_owned(), problem }
}

fn number_of(key: &str, value: &str) -> Result<u16, RecordError> {
    value.parse().map_err(|_| wrong(key, "is a number from 0 to 65535"))
}

fn addresses<T: FromStr>(key: &str, value: &str) -> Result<Vec<T>, RecordError> {
    let parsed = value.split(',').map(|address| address.parse().map_err(|_| wrong(key, "has an address that is none")));
    parsed.collect()
}

fn fields<'t, const N: usize>(text: &'t str, form: &'static str) -> Result<[&'t str; N], RecordError> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    fields.try_into().map_err(|_| RecordError::Form(form))
}

fn number<T: FromStr + Into<u64>>(text: &str, max: T) -> Result<T, RecordError> {
    text.parse().map_err(|_| RecordError::Number { text: text.to_owned(), max: max.into() })
}

/// `.` is the root.
fn target(text: &str) -> Result<Option<DomainName>, RecordError> {
    if text == "." { Ok(None) } else { Ok(Some(DomainName::new(text)?)) }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use super::*;

    fn name(text: &str) -> Option<DomainName> {
        Some(DomainName::new(text).unwrap())
    }

    #[test]
    fn content_is_read_as_zone_files_have_it() {
        assert_eq!("10 Mail.example.".parse(), Ok(Mx { preference: 10, exchange: name("mail.example") }));
        assert_eq!("0 .".parse(), Ok(Mx { preference: 0, exchange: None }));
        let srv = Srv { priority: 1, weight: 2, port: 443, target: name("a.example") };
        assert_eq!(" 1 2\t443 a.example ".parse(), Ok(srv));
        let caa = |value: &str| Caa { flags: 128, tag: "issue".to_owned(), value: value.to_owned() };
        assert_eq!("128 Issue \"ca.example; policy=x\"".parse(), Ok(caa("ca.example; policy=x")));
        assert_eq!("128 issue ;".parse(), Ok(caa(";")));
        let alias = ServiceBinding { priority: 0, target: name("pool.example"), ..ServiceBinding::default() };
        assert_eq!("0 pool.example.".parse(), Ok(alias));
        let parameters = ServiceParameters {
            mandatory: vec![1, 3],
            alpn: vec!["h2".to_owned(), "h3".to_owned()],
            no_default_alpn: true,
            port: Some(8443),
            ipv4_hint: vec![[192, 0, 2, 1].into()],
            ipv6_hint: vec!["2001:db8::1".parse().unwrap()],
        };
        let text =
            "1 . ipv6hint=2001:db8::1 port=8443 alpn=\"h2,h3\" mandatory=port,alpn no-default-alpn ipv4hint=192.0.2.1";
        assert_eq!(text.parse(), Ok(ServiceBinding { priority: 1, target: None, parameters }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        fn check<T: FromStr<Err: Display>>(text: &str, expected: &str) {
            let error = text.parse::<T>().err().unwrap_or_else(|| panic!("{text} was taken")).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        check::<Mx>("mail.example", "write a preference and a name");
        check::<Mx>("65536 mail.example", "no number from 0 to 65535");
        check::<Mx>("1 a..b", "no valid domain name");
        check::<Srv>("1 2 3", "write priority, weight, port and name");
        check::<Caa>("256 issue x", "no number from 0 to 255");
        check::<Caa>("0 is_sue x", "write flags, tag and value");
        check::<ServiceBinding>("1", "write priority, target and parameters");
        check::<ServiceBinding>("0 a.example port=1", "an alias (priority 0) without parameters");
        check::<ServiceBinding>("1 . port=1 port=2", "port: is written twice");
        check::<ServiceBinding>("1 . port=x", "port: is a number");
        check::<ServiceBinding>("1 . ech=x", "ech: is not known");
        check::<ServiceBinding>("1 . alpn=", "protocols have 1 to 255 bytes");
        check::<ServiceBinding>("1 . no-default-alpn", "needs alpn");
        check::<ServiceBinding>("1 . mandatory=alpn", "keys that are there");
        check::<ServiceBinding>("1 . mandatory=port,port port=1", "each key once");
        check::<ServiceBinding>("1 . ipv4hint=::1", "ipv4hint: has an address that is none");
    }
}
