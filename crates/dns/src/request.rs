//! What a packet asks: one pass over the bytes, without allocation, that checks what the RFCs demand of a query.
//!
//! hickory's message decoder is not used here: it drops what must be judged (bits past a subnet's prefix, a second
//! OPT record) and copies what is only echoed.

use hickory_proto::op::{OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};

use crate::cookie::Cookie;
use crate::name::{MAX_LABEL, MAX_NAME};
use crate::subnet::Subnet;

/// Queries and responses that carry less than a header are noise.
const QR: u16 = 1 << 15;
const OPCODE_SHIFT: u16 = 11;
const OPCODE_MASK: u16 = 0xF;
const RD: u16 = 1 << 8;

/// EDNS option codes (IANA, "DNS EDNS0 Option Codes").
pub(crate) const OPTION_NSID: u16 = 3;
pub(crate) const OPTION_SUBNET: u16 = 8;
pub(crate) const OPTION_COOKIE: u16 = 10;
pub(crate) const OPTION_KEEPALIVE: u16 = 11;
pub(crate) const OPTION_EXTENDED_ERROR: u16 = 15;

const DNSSEC_OK: u16 = 1 << 15;

/// The smallest size a requestor can have (RFC 6891 section 6.2.3).
pub(crate) const MIN_UDP_SIZE: u16 = 512;

/// A packet that deserves an answer.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) id: u16,
    pub(crate) opcode: u8,
    pub(crate) recursion_desired: bool,
    /// As far as it could be read.
    pub(crate) question: Option<Question<'a>>,
    /// As far as it could be read.
    pub(crate) edns: Option<Edns<'a>>,
    /// What is answered if the packet cannot be taken for a query.
    pub(crate) fault: Option<ResponseCode>,
}

/// The one question.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// Name, type and class as they came: the answer repeats them, upper case included.
    pub(crate) raw: &'a [u8],
    pub(crate) name: QuestionName,
    pub(crate) qtype: RecordType,
    pub(crate) class: DNSClass,
}

/// A name in lower case, in place.
pub(crate) struct QuestionName {
    bytes: [u8; MAX_NAME],
    length: usize,
}

/// What the OPT record says (RFC 6891).
#[derive(Debug, Default)]
pub(crate) struct Edns<'a> {
    pub(crate) udp_size: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    pub(crate) subnet: Option<Subnet<'a>>,
    /// RFC 5001.
    pub(crate) nsid: bool,
    /// RFC 7828.
    pub(crate) keepalive: bool,
    pub(crate) cookie: Option<Cookie<'a>>,
}

impl<'a> Request<'a> {
    /// `None`: not to be answered at all. Answering a response would let two servers talk for ever.
    pub(crate) fn parse(packet: &'a [u8]) -> Option<Self> {
        let mut reader = Reader { rest: packet };
        let id = reader.u16()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        if flags & QR != 0 {
            return None;
        }
        let mut request = Self {
            id,
            opcode: ((flags >> OPCODE_SHIFT) & OPCODE_MASK) as u8,
            recursion_desired: flags & RD != 0,
            question: None,
            edns: None,
            fault: None,
        };
        // The body is read whatever the operation, so that the answer has question and OPT record if there are any.
        let body = request.read_body(&mut reader, counts);
        request.fault = match OpCode::from_u8(request.opcode) {
            OpCode::Query => body.err(),
            // Nobody is a primary of ours.
            OpCode::Notify => body.err().or(Some(ResponseCode::Refused)),
            _ => Some(ResponseCode::NotImp),
        };
        Some(request)
    }

    fn read_body(&mut self, reader: &mut Reader<'a>, counts: [u16; 4]) -> Result<(), ResponseCode> {
        let [questions, answers, authorities, additionals] = counts;
        // RFC 9619: a query has one question, or none if it is a cookie that is asked for.
        match questions {
            0 => {}
            1 => self.question = Some(reader.question().ok_or(ResponseCode::FormErr)?),
            _ => return Err(ResponseCode::FormErr),
        }
        for _ in 0..u32::from(answers) + u32::from(authorities) {
            reader.record().ok_or(ResponseCode::FormErr)?;
        }
        for _ in 0..additionals {
            let record = reader.record().ok_or(ResponseCode::FormErr)?;
            if record.rtype == RecordType::OPT {
                self.read_opt(&record)?;
            }
        }
        match &self.edns {
            Some(edns) if edns.version > 0 => Err(ResponseCode::BADVERS),
            edns if self.question.is_none() && edns.as_ref().is_none_or(|edns| edns.cookie.is_none()) => {
                Err(ResponseCode::FormErr)
            }
            _ => Ok(()),
        }
    }

    fn read_opt(&mut self, record: &RawRecord<'a>) -> Result<(), ResponseCode> {
        // RFC 6891 section 6.1.1: at most one, and its owner is the root.
        if self.edns.is_some() || !record.owner_is_root {
            return Err(ResponseCode::FormErr);
        }
        let [_, version, flags @ ..] = record.ttl.to_be_bytes();
        let edns = self.edns.insert(Edns {
            udp_size: record.class.max(MIN_UDP_SIZE),
            version,
            dnssec_ok: u16::from_be_bytes(flags) & DNSSEC_OK != 0,
            ..Edns::default()
        });
        // What options of a later version mean is not known.
        if version > 0 { Ok(()) } else { edns.read_options(record.data).ok_or(ResponseCode::FormErr) }
    }
}

impl<'a> Edns<'a> {
    fn read_options(&mut self, data: &'a [u8]) -> Option<()> {
        let mut reader = Reader { rest: data };
        while !reader.rest.is_empty() {
            let code = reader.u16()?;
            let length = reader.u16()?;
            let value = reader.take(length.into())?;
            match code {
                OPTION_SUBNET if self.subnet.is_some() => return None,
                OPTION_SUBNET => self.subnet = Some(Subnet::parse(value).ok()?),
                OPTION_NSID => self.nsid = true,
                OPTION_KEEPALIVE => self.keepalive = true,
                // Of several the first counts (RFC 7873 section 5.2).
                OPTION_COOKIE if self.cookie.is_some() => {}
                OPTION_COOKIE => self.cookie = Some(Cookie::parse(value)?),
                // RFC 6891 section 6.1.2: unknown options are ignored.
                _ => {}
            }
        }
        Some(())
    }
}

impl QuestionName {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length.checked_add(bytes.len())?;
        self.bytes.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }
}

impl std::fmt::Debug for QuestionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.as_bytes().escape_ascii().to_string())
    }
}

/// A record of which only the frame was read.
struct RawRecord<'a> {
    owner_is_root: bool,
    rtype: RecordType,
    class: u16,
    ttl: u32,
    data: &'a [u8],
}

/// The bytes that are left; every method returns `None` when they end too early.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(length)?;
        self.rest = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk()?;
        self.rest = tail;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn question(&mut self) -> Option<Question<'a>> {
        let start = self.rest;
        let name = self.name()?;
        let (qtype, class) = (self.u16()?, self.u16()?);
        let raw = start.get(..start.len().checked_sub(self.rest.len())?)?;
        Some(Question { raw, name, qtype: qtype.into(), class: class.into() })
    }

    /// A name without compression: there is nothing before the question that it could point to.
    fn name(&mut self) -> Option<QuestionName> {
        let mut name = QuestionName { bytes: [0; MAX_NAME], length: 0 };
        loop {
            let [length] = self.array()?;
            if length > MAX_LABEL {
                return None;
            }
            name.push(&[length])?;
            name.push(self.take(length.into())?)?;
            if length == 0 {
                break;
            }
        }
        // Length bytes are below the letters, so the whole can be lowered at once.
        name.bytes.make_ascii_lowercase();
        Some(name)
    }

    fn record(&mut self) -> Option<RawRecord<'a>> {
        let owner_is_root = self.rest.first() == Some(&0);
        self.skip_name()?;
        let (rtype, class) = (self.u16()?, self.u16()?);
        let ttl = self.array().map(u32::from_be_bytes)?;
        let length = self.u16()?;
        let data = self.take(length.into())?;
        Some(RawRecord { owner_is_root, rtype: rtype.into(), class, ttl, data })
    }

    /// Past a name that may be compressed; the pointer is not followed, so there is no loop to fear.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            let [length] = self.array()?;
            match length {
                0 => return Some(()),
                1..=MAX_LABEL => drop(self.take(length.into())?),
                0xC0.. => return self.array::<1>().map(drop),
                _ => return None,
            }
        }
    }
}
