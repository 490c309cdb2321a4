//! Answers that are ready before anybody asks. Names that stand in a zone themselves (no alias, no wildcard, nothing
//! delegated) have their answers encoded when a configuration or a plan arrives; a query for one of them is a hash of
//! its name, the look-up of its class, a pick and a copy. Where no two units need get the same (by weight alone, or from
//! several addresses of a region) records are ready, and a choice says which. Whatever is not so plain is thought about
//! in [`crate::answer`], which would say the same: the tests compare.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::IpAddr;

use hickory_proto::rr::{DNSClass, RecordType};
use meridian_types::DomainName;
use siphasher::sip::SipHasher13;

use crate::answer::{Client, Facts, Standing};
use crate::choose::Few;
use crate::cookie::Issued;
use crate::encode::{encode_ready, put_record};
use crate::metrics::Series;
use crate::name::WireName;
use crate::pool::{Members, Pool, Steering};
use crate::request::Request;
use crate::response::{Owner, Rdata, Response, Rr, records};
use crate::snapshot::Snapshot;
use crate::subnet::Unit;
use crate::zone::{Found, Node, Rrset, Zones};

/// A record's TTL stands behind the pointer to its name, the type and the class.
const TTL_AT: usize = 6;

/// The names of one configuration that are answered at once.
#[derive(Debug, Default)]
pub(crate) struct Ready(HashMap<WireName, Name, BuildHasherDefault<SipHasher13>>);

/// One of them.
#[derive(Debug)]
struct Name {
    zone: DomainName,
    /// The zone's place among the configuration's.
    place: usize,
    answers: Answers,
}

#[derive(Debug)]
enum Answers {
    /// A and AAAA as the plan says; the place among the zone's steered names.
    Steered(usize),
    /// The same for everybody.
    Fixed(Vec<Fixed>),
}

/// A whole record set.
#[derive(Debug)]
struct Fixed {
    rtype: RecordType,
    count: usize,
    bytes: Box<[u8]>,
    series: Series,
}

/// Records of the name asked for, ready but for their TTL.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Box<[u8]>,
    count: usize,
    /// Bytes of each.
    record: usize,
}

impl Ready {
    pub(crate) fn compile(zones: &Zones) -> Self {
        let mut names = HashMap::default();
        for zone in zones.iter() {
            for (name, node) in zone.nodes() {
                let bytes = name.as_bytes();
                // Another zone of ours may begin above it.
                let is_of_zone = zones.find(bytes).is_some_and(|found| std::ptr::eq(found, zone));
                let stands = matches!(zone.find(bytes), Found::Node(found) if std::ptr::eq(found, node));
                if is_of_zone && stands && node.rrset(RecordType::CNAME).is_none() && !node.is_empty() {
                    let ready = Name { zone: zone.name.clone(), place: zone.place, answers: Answers::of(bytes, node) };
                    names.insert(name.clone(), ready);
                }
            }
        }
        Self(names)
    }
}

impl Answers {
    fn of(name: &[u8], node: &Node) -> Self {
        match node.steered {
            Some(place) => Self::Steered(place),
            None => Self::Fixed(node.rrsets.iter().map(|set| Fixed::of(name, set)).collect()),
        }
    }
}

impl Fixed {
    fn of(name: &[u8], set: &Rrset) -> Self {
        let mut bytes = Vec::new();
        records(Owner::Question, set).for_each(|record| put_record(name, &record, &mut bytes));
        Self { rtype: set.rtype, count: set.data.len(), bytes: bytes.into(), series: Series::default() }
    }
}

impl Template {
    /// The addresses are of one family.
    pub(crate) fn of(addresses: &[IpAddr]) -> Self {
        let mut bytes = Vec::new();
        for address in addresses {
            let rtype = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
            let record = Rr { owner: Owner::Question, rtype, ttl: 0, data: Rdata::Address(*address) };
            put_record(&[], &record, &mut bytes);
        }
        let (count, record) = (addresses.len(), bytes.len().checked_div(addresses.len()).unwrap_or(0));
        Self { bytes: bytes.into(), count, record }
    }

    fn put(&self, ttl: u32, out: &mut Vec<u8>) {
        let mut at = out.len().saturating_add(TTL_AT);
        out.extend_from_slice(&self.bytes);
        for _ in 0..self.count {
            if let Some((place, _)) = out.get_mut(at..).and_then(<[u8]>::split_first_chunk_mut) {
                *place = ttl.to_be_bytes();
            }
            at = at.saturating_add(self.record);
        }
    }
}

/// The answer over UDP, if it is ready; what is in `out` is worthless otherwise.
pub(crate) fn answer<'s>(
    snapshot: &'s Snapshot,
    request: &Request<'_>,
    client: &Client,
    (standing, cookie): (Standing, Option<Issued>),
    out: &mut Vec<u8>,
) -> Option<Facts<'s>> {
    let question = request.question.as_ref().filter(|question| question.class == DNSClass::IN)?;
    let name = snapshot.ready().0.get(question.name.as_bytes()).filter(|_| request.fault.is_none())?;
    let mut response = Response { authoritative: true, cookie, zone: Some(&name.zone), ..Response::default() };
    let series;
    let is_short = match &name.answers {
        Answers::Fixed(sets) => {
            let set = sets.iter().find(|set| set.rtype == question.qtype)?;
            series = &set.series;
            let put = |out: &mut Vec<u8>| out.extend_from_slice(&set.bytes);
            encode_ready(request, &response, &snapshot.nsid, set.count, put, out)
        }
        Answers::Steered(place) => {
            let steering = snapshot.steering(name.place, *place)?;
            let members = members(steering, question.qtype, client.unit)?;
            let ttl = steering.ttl.of(client.unit, client.resolver);
            let (first, scope, records) = match steering.ready(members, client.unit) {
                Some((front, first, scope)) => (first, scope, Few::from_slice(&[&front.records])),
                None => {
                    let choice = steering.choose(members, client.unit);
                    let (first, _) = choice.addresses.first()?;
                    let records = choice.addresses.iter().map(|(_, address)| &address.record).collect();
                    (*first, choice.scope, records)
                }
            };
            (response.region, series) = (Some(&first.region), &first.series);
            response.scope = if client.is_subnet { scope } else { 0 };
            let count = records.iter().map(|records| records.count).sum();
            let put = |out: &mut Vec<u8>| records.iter().for_each(|records| records.put(ttl, out));
            encode_ready(request, &response, &snapshot.nsid, count, put, out)
        }
    };
    let Response { zone, rcode, region, .. } = response;
    is_short.then_some(Facts { standing, zone, qtype: Some(question.qtype), rcode, region, series: Some(series) })
}

/// Regions that take traffic, if there is nothing else to say.
fn members(steering: &Steering, qtype: RecordType, unit: Unit) -> Option<&Members> {
    let [v4, v6] = steering.pools_for(unit);
    let pool = match qtype {
        RecordType::A => v4,
        RecordType::AAAA => v6,
        _ => return None,
    };
    match pool {
        Pool::Members(members) if members.all_down.is_none() => Some(members),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
