//! Answers that are ready before anybody asks. Names that stand in a zone themselves (no alias, no wildcard, nothing
//! delegated) have their answers encoded when a configuration or a plan arrives; a query for one of them is a hash of
//! its name, the look-up of its class, a pick and a copy. Whatever is not so plain is thought about in [`crate::answer`],
//! which would say the same: the tests compare.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use hickory_proto::rr::{DNSClass, RecordType};
use meridian_types::DomainName;
use siphasher::sip::SipHasher13;

use crate::answer::{Client, Facts, Standing};
use crate::cookie::Issued;
use crate::encode::{encode_ready, put_record};
use crate::metrics::Series;
use crate::name::WireName;
use crate::pool::{Members, Pool, Steered, Steering};
use crate::request::Request;
use crate::response::{ExtendedError, Owner, Response, records};
use crate::snapshot::Snapshot;
use crate::subnet::Unit;
use crate::zone::{Found, Node, Rrset, Zones};

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
            let Steered { ttl, steering, .. } = snapshot.steered(name.place, *place)?;
            let members = members(steering, question.qtype, client.unit)?;
            let ready = steering.ready(members, client.unit)?;
            (response.region, series) = (Some(&ready.front.region), &ready.front.series);
            response.scope = if client.is_subnet { ready.scope } else { 0 };
            response.extended_error = members.all_down.map(|text| ExtendedError { code: ExtendedError::OTHER, text });
            let ttl = ttl.of(client.unit, client.resolver);
            encode_ready(request, &response, &snapshot.nsid, ready.count, |out| ready.put(ttl, out), out)
        }
    };
    let Response { zone, rcode, region, .. } = response;
    is_short.then_some(Facts { standing, zone, qtype: Some(question.qtype), rcode, region, series: Some(series) })
}

/// Regions that are answered, if any are.
fn members(steering: &Steering, qtype: RecordType, unit: Unit) -> Option<&Members> {
    let [v4, v6] = steering.pools_for(unit);
    let pool = match qtype {
        RecordType::A => v4,
        RecordType::AAAA => v6,
        _ => return None,
    };
    match pool {
        Pool::Members(members) => Some(members),
        Pool::NoAddress | Pool::Refuse(_) => None,
    }
}

#[cfg(test)]
mod tests;
