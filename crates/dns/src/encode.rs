//! Responses as bytes. Names are compressed against the question alone: whatever a zone answers ends in the zone's
//! name, and so does the question. That needs neither a table nor an allocation.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, RecordType};

use crate::name::suffixes;
use crate::request::{
    Edns, MIN_UDP_SIZE, OPTION_COOKIE, OPTION_EXTENDED_ERROR, OPTION_KEEPALIVE, OPTION_NSID, OPTION_SUBNET, Request,
};
use crate::response::{Owner, Rdata, Response, Rr};
use crate::zone::Soa;

/// Largest UDP answer, and what the OPT record says we receive: fits an IPv6 packet that nobody fragments
/// (<https://www.dnsflagday.net/2020/>).
pub const MAX_UDP_SIZE: u16 = 1232;

/// How long an idle TCP connection is kept, in the unit of RFC 7828.
const KEEPALIVE_100MS: u16 = (crate::tcp::IDLE_TIMEOUT.as_millis() / 100) as u16;

const QR: u16 = 1 << 15;
const AA: u16 = 1 << 10;
const TC: u16 = 1 << 9;
const RD: u16 = 1 << 8;
const DNSSEC_OK: u32 = 1 << 15;
const COMPRESSED: u16 = 0xC000;

/// The question's name stands behind the header.
const HEADER: usize = 12;

/// SOA timers for secondaries, as RIPE-203 advises for small and stable zones.
const SOA_REFRESH_S: u32 = 86_400;
const SOA_RETRY_S: u32 = 7_200;
const SOA_EXPIRE_S: u32 = 3_600_000;

/// How a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: answers are small or truncated.
    Udp,
    /// A stream of messages with a length each.
    Tcp,
}

/// Writes the answer into `out`, which it clears first; `is_hint`: only that there is one, over TCP.
pub(crate) fn encode(
    request: &Request<'_>,
    response: &Response<'_>,
    transport: Transport,
    nsid: &str,
    is_hint: bool,
    out: &mut Vec<u8>,
) {
    let encoder = Encoder { request, response, transport, nsid };
    encoder.write(!is_hint, out);
    if out.len() > limit(request, transport) {
        // RFC 2181 section 9: no RRset in parts. The client comes back over TCP anyway, so none at all is the
        // smallest correct answer.
        encoder.write(false, out);
    }
}

/// As [`encode`] over UDP, with `count` answers that `put` writes; `false` if that is too long.
pub(crate) fn encode_ready(
    request: &Request<'_>,
    response: &Response<'_>,
    nsid: &str,
    count: usize,
    put: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) -> bool {
    let encoder = Encoder { request, response, transport: Transport::Udp, nsid };
    encoder.put_head(true, [count, 0, 0], out);
    put(out);
    encoder.put_tail(true, out);
    out.len() <= limit(request, Transport::Udp)
}

/// The longest answer that the client takes.
fn limit(request: &Request<'_>, transport: Transport) -> usize {
    let limit = match (transport, &request.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.udp_size.min(MAX_UDP_SIZE),
        (Transport::Udp, None) => MIN_UDP_SIZE,
    };
    limit.into()
}

struct Encoder<'e> {
    request: &'e Request<'e>,
    response: &'e Response<'e>,
    transport: Transport,
    nsid: &'e str,
}

impl Encoder<'_> {
    fn write(&self, whole: bool, out: &mut Vec<u8>) {
        let response = self.response;
        let sections: [&[Rr<'_>]; 3] =
            if whole { [&response.answers, &response.authority, &response.glue] } else { [&[], &[], &[]] };
        self.put_head(whole, sections.map(<[_]>::len), out);
        let asked = self.request.question.as_ref().map(|question| question.name.as_bytes()).unwrap_or_default();
        for record in sections.into_iter().flatten() {
            put_record(asked, record, out);
        }
        self.put_tail(whole, out);
    }

    /// Header and question of an answer with so many records a section.
    fn put_head(&self, whole: bool, records: [usize; 3], out: &mut Vec<u8>) {
        let (request, response) = (self.request, self.response);
        out.clear();
        let [answers, authority, glue] = records.map(count);
        let opt = u16::from(request.edns.is_some());
        let mut flags = QR | (u16::from(request.opcode) << 11) | u16::from(response.rcode.low());
        flags |= if response.authoritative { AA } else { 0 };
        flags |= if whole { 0 } else { TC };
        flags |= if request.recursion_desired { RD } else { 0 };
        let questions = u16::from(request.question.is_some());
        for word in [request.id, flags, questions, answers, authority, glue.saturating_add(opt)] {
            put_u16(out, word);
        }
        if let Some(question) = &request.question {
            out.extend_from_slice(question.raw);
        }
    }

    fn put_tail(&self, whole: bool, out: &mut Vec<u8>) {
        if let Some(edns) = &self.request.edns {
            self.put_opt(edns, whole, out);
        }
    }

    /// RFC 6891: our own size, the DNSSEC bit copied (RFC 3225), every other flag zero, and no option but those that
    /// were asked for.
    fn put_opt(&self, edns: &Edns<'_>, whole: bool, out: &mut Vec<u8>) {
        out.push(0);
        put_u16(out, RecordType::OPT.into());
        put_u16(out, MAX_UDP_SIZE);
        let dnssec_ok = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
        let ttl = (extended(self.response.rcode) << 24) | dnssec_ok;
        out.extend_from_slice(&ttl.to_be_bytes());
        with_length(out, |out| {
            if let Some(subnet) = &edns.subnet {
                put_option(out, OPTION_SUBNET, |out| subnet.echo(self.response.scope, out));
            }
            if edns.nsid {
                put_option(out, OPTION_NSID, |out| out.extend_from_slice(self.nsid.as_bytes()));
            }
            if edns.keepalive && self.transport == Transport::Tcp {
                put_option(out, OPTION_KEEPALIVE, |out| put_u16(out, KEEPALIVE_100MS));
            }
            if let Some(cookie) = self.response.cookie {
                put_option(out, OPTION_COOKIE, |out| out.extend_from_slice(&cookie));
            }
            if let Some(error) = self.response.extended_error {
                put_option(out, OPTION_EXTENDED_ERROR, |out| {
                    put_u16(out, error.code);
                    // With every option, the longest name and this text, 512 bytes would not be enough.
                    out.extend_from_slice(if whole { error.text.as_bytes() } else { &[] });
                });
            }
        });
    }
}

/// A record as the answer to a question for the name `asked` has it.
pub(crate) fn put_record(asked: &[u8], record: &Rr<'_>, out: &mut Vec<u8>) {
    match record.owner {
        Owner::Question => put_u16(out, COMPRESSED | HEADER as u16),
        Owner::Name(name) => put_name(asked, name, out),
    }
    put_u16(out, record.rtype.into());
    put_u16(out, DNSClass::IN.into());
    out.extend_from_slice(&record.ttl.to_be_bytes());
    with_length(out, |out| match &record.data {
        Rdata::Address(IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
        Rdata::Address(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
        Rdata::Name(name) => put_name(asked, name, out),
        Rdata::Bytes(bytes) => out.extend_from_slice(bytes),
        Rdata::Made(bytes) => out.extend_from_slice(bytes),
        Rdata::Soa(soa, serial) => put_soa(asked, soa, *serial, out),
    });
}

fn put_soa(asked: &[u8], soa: &Soa, serial: u32, out: &mut Vec<u8>) {
    put_name(asked, soa.primary.as_bytes(), out);
    put_name(asked, soa.mailbox.as_bytes(), out);
    for number in [serial, SOA_REFRESH_S, SOA_RETRY_S, SOA_EXPIRE_S, soa.minimum] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// The bits of a response code that do not fit the header.
fn extended(rcode: ResponseCode) -> u32 {
    u16::from(rcode).checked_shr(4).map_or(0, u32::from)
}

/// More records than that do not fit a message, which is then written without any.
fn count(records: usize) -> u16 {
    u16::try_from(records).unwrap_or(u16::MAX)
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_option(out: &mut Vec<u8>, code: u16, write: impl FnOnce(&mut Vec<u8>)) {
    put_u16(out, code);
    with_length(out, write);
}

/// What `write` adds, behind its length.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    put_u16(out, 0);
    write(out);
    let length = count(out.len().saturating_sub(at).saturating_sub(2));
    if let Some(place) = out.get_mut(at..at.saturating_add(2)) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// The name, up to where it goes on like the one asked for.
fn put_name(asked: &[u8], name: &[u8], out: &mut Vec<u8>) {
    for suffix in suffixes(name) {
        // The root is shorter than a pointer.
        if suffix.len() > 1
            && let Some(known) = suffixes(asked).find(|known| *known == suffix)
        {
            // A name has at most 255 bytes, so the pointer always fits its 14 bits.
            put_u16(out, COMPRESSED | count(HEADER.saturating_add(asked.len()).saturating_sub(known.len())));
            return;
        }
        let label = suffix.first().map_or(0, |length| usize::from(*length).saturating_add(1));
        out.extend_from_slice(suffix.get(..label).unwrap_or_default());
    }
}
