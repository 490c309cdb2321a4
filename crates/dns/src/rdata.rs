//! Records' content as bytes. Names within it are left whole where they must not be compressed (RFC 3597 section 4), and
//! kept apart where they may be.

use std::net::IpAddr;

use hickory_proto::rr::RecordType;
use meridian_types::DomainName;
use meridian_types::record::{Caa, Mx, ServiceBinding, ServiceParameters, Srv};
use meridian_types::zone::RecordData;

use crate::name::WireName;

/// Longest character string of a TXT record (RFC 1035 section 3.3).
const MAX_STRING: usize = 255;

/// Content of one record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Address(IpAddr),
    Name(WireName),
    Bytes(Box<[u8]>),
}

/// The type of a record set, and its records.
pub(crate) fn store(data: &RecordData) -> (RecordType, Vec<Stored>) {
    fn all<T>(list: &[T], store: impl Fn(&T) -> Stored) -> Vec<Stored> {
        list.iter().map(store).collect()
    }
    fn bytes(parts: &[&[u8]]) -> Stored {
        Stored::Bytes(parts.concat().into())
    }
    let name = |name: &DomainName| Stored::Name(name.into());
    let binding = |binding: &ServiceBinding| Stored::Bytes(service_binding(binding).into());
    match data {
        RecordData::A(list) => (RecordType::A, all(list, |a| Stored::Address(IpAddr::V4(*a)))),
        RecordData::Aaaa(list) => (RecordType::AAAA, all(list, |a| Stored::Address(IpAddr::V6(*a)))),
        RecordData::Cname(target) => (RecordType::CNAME, vec![name(target)]),
        RecordData::Ns(servers) => (RecordType::NS, all(servers, name)),
        RecordData::Ptr(names) => (RecordType::PTR, all(names, name)),
        RecordData::Txt(texts) => (RecordType::TXT, all(texts, |text| Stored::Bytes(strings(text)))),
        RecordData::Mx(list) => {
            let store = |mx: &Mx| bytes(&[&mx.preference.to_be_bytes(), &wire(mx.exchange.as_ref())]);
            (RecordType::MX, all(list, store))
        }
        RecordData::Srv(list) => {
            let store = |srv: &Srv| {
                let numbers = [srv.priority, srv.weight, srv.port].map(u16::to_be_bytes).concat();
                bytes(&[&numbers, &wire(srv.target.as_ref())])
            };
            (RecordType::SRV, all(list, store))
        }
        RecordData::Caa(list) => {
            let store = |Caa { flags, tag, value }: &Caa| {
                bytes(&[&[*flags, tag.len() as u8], tag.as_bytes(), value.as_bytes()])
            };
            (RecordType::CAA, all(list, store))
        }
        RecordData::Svcb(list) => (RecordType::SVCB, all(list, binding)),
        RecordData::Https(list) => (RecordType::HTTPS, all(list, binding)),
    }
}

/// A text as character strings; an empty text is one empty string.
fn strings(text: &str) -> Box<[u8]> {
    if text.is_empty() {
        return Box::new([0]);
    }
    let mut wire = Vec::with_capacity(text.len() + 1);
    for chunk in text.as_bytes().chunks(MAX_STRING) {
        wire.push(u8::try_from(chunk.len()).unwrap_or(u8::MAX));
        wire.extend_from_slice(chunk);
    }
    wire.into_boxed_slice()
}

/// A name in wire form; the root if there is none.
fn wire(name: Option<&DomainName>) -> Vec<u8> {
    name.map_or_else(|| vec![0], |name| WireName::from(name).as_bytes().to_vec())
}

/// RFC 9460 section 2.2: parameters in the order of their keys.
pub(crate) fn service_binding(binding: &ServiceBinding) -> Vec<u8> {
    let mut out = binding.priority.to_be_bytes().to_vec();
    out.extend_from_slice(&wire(binding.target.as_ref()));
    let ServiceParameters { mandatory, alpn, no_default_alpn, port, ipv4_hint, ipv6_hint } = &binding.parameters;
    let mut put = |key: u16, is_present: bool, value: Vec<u8>| {
        if is_present {
            out.extend_from_slice(&key.to_be_bytes());
            out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(&value);
        }
    };
    let keys = mandatory.iter().flat_map(|key| key.to_be_bytes()).collect();
    put(ServiceParameters::MANDATORY, !mandatory.is_empty(), keys);
    let protocols = alpn.iter().flat_map(|protocol| strings(protocol)).collect();
    put(ServiceParameters::ALPN, !alpn.is_empty(), protocols);
    put(ServiceParameters::NO_DEFAULT_ALPN, *no_default_alpn, Vec::new());
    put(ServiceParameters::PORT, port.is_some(), port.unwrap_or_default().to_be_bytes().to_vec());
    let hints = ipv4_hint.iter().flat_map(|address| address.octets()).collect();
    put(ServiceParameters::IPV4_HINT, !ipv4_hint.is_empty(), hints);
    let hints = ipv6_hint.iter().flat_map(|address| address.octets()).collect();
    put(ServiceParameters::IPV6_HINT, !ipv6_hint.is_empty(), hints);
    out
}
