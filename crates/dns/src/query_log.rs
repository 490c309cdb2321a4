//! A sample of the queries in the log, for people who wonder what is asked. Addresses are cut to the unit that clients are
//! hashed by: nobody can be told apart who is not answered apart.

use std::net::IpAddr;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::answer::{Client, Facts};
use crate::encode::Transport;
use crate::request::Request;
use crate::subnet::Unit;

/// Takes one query in so many.
#[derive(Debug)]
pub(crate) struct QueryLog {
    one_in: NonZero<u32>,
    seen: AtomicU64,
}

/// What is written down about one query.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// As asked, in lower case; what is no letter, digit or mark is escaped.
    name: String,
    qtype: String,
    rcode: String,
    region: String,
    /// The client's network, if the resolver sent it.
    client: Option<Unit>,
    resolver: Unit,
    transport: &'static str,
}

impl QueryLog {
    pub(crate) fn new(one_in: NonZero<u32>) -> Self {
        Self { one_in, seen: AtomicU64::new(0) }
    }

    /// Whether it is this query's turn.
    fn takes(&self) -> bool {
        self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_in.get().into())
    }

    /// Writes the query down if it is its turn.
    pub(crate) fn see(&self, packet: &[u8], source: IpAddr, transport: Transport, facts: &Facts<'_>) {
        if !self.takes() {
            return;
        }
        let Some(Entry { name, qtype, rcode, region, client, resolver, transport }) =
            entry(packet, source, transport, facts)
        else {
            return;
        };
        let client = client.map(tracing::field::display);
        let one_in = self.one_in;
        tracing::info!(target: "meridian_dns::queries", name, qtype, rcode, region, client, %resolver, transport, one_in, "query");
    }
}

/// The packet is read a second time: a few queries are, and the others need not keep anything for it.
fn entry(packet: &[u8], source: IpAddr, transport: Transport, facts: &Facts<'_>) -> Option<Entry> {
    let request = Request::parse(packet)?;
    let client = Client::of(&request, source);
    let name = request.question.as_ref().map(|question| text(question.name.as_bytes())).unwrap_or_default();
    Some(Entry {
        name,
        qtype: facts.qtype.map(|qtype| qtype.to_string()).unwrap_or_default(),
        rcode: format!("{:?}", facts.rcode),
        region: facts.region.map(|region| region.to_string()).unwrap_or_default(),
        client: client.is_subnet.then_some(client.unit),
        resolver: client.resolver,
        transport: match transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        },
    })
}

/// A name in wire form as people write it.
fn text(name: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = name;
    while let Some((&length, tail)) = rest.split_first() {
        let Some((label, next)) = tail.split_at_checked(length.into()) else { break };
        for byte in label {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'*' => text.push(char::from(*byte)),
                _ => text.push_str(&format!("\\{byte:03}")),
            }
        }
        text.push('.');
        rest = if length == 0 { &[] } else { next };
    }
    // The root's label is empty, and the dot of the one before it is enough.
    if text.len() > 1 {
        text.truncate(text.len().saturating_sub(1))
    }
    text
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::answer::Standing;

    fn facts() -> Facts<'static> {
        let (zone, region, qtype) = (None, None, Some(RecordType::A));
        Facts { standing: Standing::Unknown, zone, qtype, rcode: ResponseCode::NXDomain, region, series: None }
    }

    #[test]
    fn an_entry_has_networks_and_no_addresses_and_a_name_that_cannot_break_the_line() {
        let head = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        let question = b"\x04A\n\"x\x07example\0\0\x01\0\x01";
        let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12, 0, 8, 0, 8, 0, 1, 32, 0, 203, 0, 113, 77];
        let packet = [&head[..], question, &opt].concat();
        let entry = entry(&packet, "192.0.2.99".parse().unwrap(), Transport::Udp, &facts()).unwrap();
        let unit = |address: &str| Unit::of(address.parse().unwrap());
        assert_eq!(entry.name, "a\\010\\034x.example.");
        assert_eq!((entry.client, entry.resolver), (Some(unit("203.0.113.0")), unit("192.0.2.0")));
        let shown = format!("{entry:?}");
        assert!(!shown.contains(".77") && !shown.contains(".99"), "{shown}");
        assert_eq!((text(b"\0"), text(b"\x01x\0")), (".".to_owned(), "x.".to_owned()));
    }

    #[test]
    fn one_in_so_many_is_taken() {
        let log = QueryLog::new(NonZero::new(10).unwrap());
        let taken = (0..100).filter(|_| log.takes()).count();
        assert_eq!(taken, 10);
    }
}
