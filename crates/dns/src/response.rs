//! What is said to a query, before it is bytes.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use meridian_types::{DomainName, RegionName};

use crate::cookie::Issued;
use crate::rdata::Stored;
use crate::zone::{Rrset, Soa};

/// An answer that borrows from the snapshot and from the question.
#[derive(Debug, Default)]
pub(crate) struct Response<'s> {
    pub(crate) rcode: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) answers: Vec<Rr<'s>>,
    pub(crate) authority: Vec<Rr<'s>>,
    /// Glue: without it a referral leads nowhere, so that it is never left out silently (RFC 9471).
    pub(crate) glue: Vec<Rr<'s>>,
    /// Prefix length of the client network that the answer holds for, if a subnet was asked for (RFC 7871).
    pub(crate) scope: u8,
    pub(crate) extended_error: Option<ExtendedError>,
    /// For clients that sent one (RFC 7873).
    pub(crate) cookie: Option<Issued>,
    /// For metrics.
    pub(crate) zone: Option<&'s DomainName>,
    /// The region answered first, for metrics.
    pub(crate) region: Option<&'s RegionName>,
}

/// RFC 8914.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtendedError {
    pub(crate) code: u16,
    pub(crate) text: &'static str,
}

impl ExtendedError {
    pub(crate) const OTHER: u16 = 0;
    pub(crate) const NOT_READY: u16 = 14;
    pub(crate) const PROHIBITED: u16 = 18;
    pub(crate) const NOT_AUTHORITATIVE: u16 = 20;
    pub(crate) const NOT_SUPPORTED: u16 = 21;
}

/// One record.
#[derive(Debug)]
pub(crate) struct Rr<'s> {
    pub(crate) owner: Owner<'s>,
    pub(crate) rtype: RecordType,
    pub(crate) ttl: u32,
    pub(crate) data: Rdata<'s>,
}

/// Whose record it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner<'s> {
    /// The name asked for, in the case in which it was asked.
    Question,
    /// Another one, in wire form.
    Name(&'s [u8]),
}

/// What the record says.
#[derive(Debug)]
pub(crate) enum Rdata<'s> {
    Address(IpAddr),
    /// A name in wire form, which may be compressed (RFC 3597 section 4).
    Name(&'s [u8]),
    Soa(&'s Soa, u32),
    Bytes(&'s [u8]),
    /// Made for this answer.
    Made(Box<[u8]>),
}

impl<'s> Response<'s> {
    pub(crate) fn refusal(rcode: ResponseCode, code: u16, text: &'static str) -> Self {
        Self { rcode, extended_error: Some(ExtendedError { code, text }), ..Self::default() }
    }
}

/// The records of a set, under `owner`.
pub(crate) fn records<'s>(owner: Owner<'s>, set: &'s Rrset) -> impl Iterator<Item = Rr<'s>> {
    set.data.iter().map(move |data| {
        let data = match data {
            Stored::Address(address) => Rdata::Address(*address),
            Stored::Name(name) => Rdata::Name(name.as_bytes()),
            Stored::Bytes(bytes) => Rdata::Bytes(bytes),
        };
        Rr { owner, rtype: set.rtype, ttl: set.ttl, data }
    })
}
