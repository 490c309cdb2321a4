//! From packet to packet: pure over a snapshot, and the same for UDP and TCP.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, RecordType};
use meridian_host::WallClock;
use meridian_types::record::{ServiceBinding, ServiceParameters};
use meridian_types::{DomainName, RegionName};

use crate::choose::Choice;
use crate::cookie::{CookieSecrets, Issued};
use crate::encode::{Transport, encode};
use crate::metrics::Series;
use crate::name::is_within;
use crate::pool::{Pool, Steered, Steering};
use crate::rdata::service_binding;
use crate::ready;
use crate::request::{Question, Request};
use crate::response::{ExtendedError, Owner, Rdata, Response, Rr, records};
use crate::snapshot::Snapshot;
use crate::subnet::Unit;
use crate::zone::{APEX_TTL, Found, Node, Zone};

/// Aliases followed for one question; real chains have one or two, loops have no end.
const MAX_ALIASES: usize = 8;

/// What ANY is answered (RFC 8482 section 4.2), and for how long.
const ANY_HINFO: &[u8] = b"\x07RFC8482\0";
const ANY_TTL: u32 = 3600;

/// How a packet came, and what is made of it.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) source: IpAddr,
    pub(crate) transport: Transport,
    /// Without secrets, cookies are not answered.
    pub(crate) cookies: Option<(&'a CookieSecrets, &'a dyn WallClock)>,
    pub(crate) manner: Manner,
}

/// How much of the answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Full,
    /// As little as shows a real client another way: BADCOOKIE if it speaks cookies, else truncated.
    Hint,
}

/// Whether the client has shown that its address is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It sent no cookie.
    Unknown,
    /// It asks for a cookie, or has one that is not recognised.
    Unproven,
    /// It has one of ours.
    Proven,
}

/// What was answered, for metrics and for the rate limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'s> {
    pub(crate) standing: Standing,
    pub(crate) zone: Option<&'s DomainName>,
    pub(crate) qtype: Option<RecordType>,
    pub(crate) rcode: ResponseCode,
    pub(crate) region: Option<&'s RegionName>,
    /// Where it is counted, if that is known already.
    pub(crate) series: Option<&'s Series>,
}

/// The answer to one packet that came from `source`; `None`: say nothing. Cookies are the running service's to answer:
/// they depend on the time.
pub fn answer(snapshot: &Snapshot, packet: &[u8], source: IpAddr, transport: Transport) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    respond(snapshot, packet, &Arrival { source, transport, cookies: None, manner: Manner::Full }, &mut out)?;
    Some(out)
}

/// As [`answer`], into a buffer that is used again.
pub(crate) fn respond<'s>(
    snapshot: &'s Snapshot,
    packet: &[u8],
    arrival: &Arrival<'_>,
    out: &mut Vec<u8>,
) -> Option<Facts<'s>> {
    let request = Request::parse(packet)?;
    let (standing, cookie) = arrival.cookie(&request);
    let client = Client::of(&request, arrival.source);
    if (arrival.transport, arrival.manner) == (Transport::Udp, Manner::Full)
        && let Some(facts) = ready::answer(snapshot, &request, &client, (standing, cookie), out)
    {
        return Some(facts);
    }
    Some(ponder(snapshot, &request, &client, arrival, (standing, cookie), out))
}

/// The answer to what is not answered at once.
pub(crate) fn ponder<'s>(
    snapshot: &'s Snapshot,
    request: &Request<'_>,
    client: &Client,
    arrival: &Arrival<'_>,
    (standing, cookie): (Standing, Option<Issued>),
    out: &mut Vec<u8>,
) -> Facts<'s> {
    let is_hint = arrival.manner == Manner::Hint;
    let mut response = match (request.fault, &request.question) {
        (None, Some(_)) if is_hint && standing == Standing::Unproven => {
            Response { rcode: ResponseCode::BADCOOKIE, ..Response::default() }
        }
        (None, Some(question)) => decide(snapshot, question, client),
        // A cookie is asked for, and nothing else (RFC 7873 section 5.4); who answers none takes it for a mistake.
        (None, None) if cookie.is_some() => Response::default(),
        (fault, _) => Response { rcode: fault.unwrap_or(ResponseCode::FormErr), ..Response::default() },
    };
    response.cookie = cookie;
    let is_truncated = is_hint && response.rcode != ResponseCode::BADCOOKIE;
    encode(request, &response, arrival.transport, &snapshot.nsid, is_truncated, out);
    let qtype = request.question.as_ref().map(|question| question.qtype);
    let Response { zone, rcode, region, .. } = response;
    Facts { standing, zone, qtype, rcode, region, series: None }
}

impl Arrival<'_> {
    /// What the request's cookie proves, and the cookie for the answer.
    pub(crate) fn cookie(&self, request: &Request<'_>) -> (Standing, Option<Issued>) {
        let cookie = request.edns.as_ref().and_then(|edns| edns.cookie);
        let (Some(cookie), Some((secrets, clock))) = (cookie, self.cookies) else {
            return (Standing::Unknown, None);
        };
        // Seconds wrap around in 2106, and cookies' times are made for that.
        let now_unix_s = clock.now_unix_ms().div_euclid(1000) as u32;
        let is_ours = secrets.recognises(&cookie, self.source, now_unix_s);
        let standing = if is_ours { Standing::Proven } else { Standing::Unproven };
        (standing, Some(secrets.issue(cookie.client, self.source, now_unix_s)))
    }
}

/// For whom is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) unit: Unit,
    /// Who asks, for the client or for itself.
    pub(crate) resolver: Unit,
    /// Whether the unit is the client's own, sent as a subnet. The resolver's stands in otherwise, and the scope is 0:
    /// the answer says nothing about the network that the resolver named.
    pub(crate) is_subnet: bool,
}

impl Client {
    pub(crate) fn of(request: &Request<'_>, source: IpAddr) -> Self {
        let subnet = request.edns.as_ref().and_then(|edns| edns.subnet.as_ref()?.usable());
        let resolver = Unit::of(source);
        Self { unit: subnet.map_or(resolver, Unit::of), resolver, is_subnet: subnet.is_some() }
    }
}

fn decide<'s>(snapshot: &'s Snapshot, question: &Question<'_>, client: &Client) -> Response<'s> {
    if !snapshot.has_zones() {
        // Not REFUSED: that would say that we never will be responsible.
        return Response::refusal(ResponseCode::ServFail, ExtendedError::NOT_READY, "no zones yet");
    }
    // Class CH holds version.bind and the like, which are nobody's business.
    if question.class != DNSClass::IN {
        return Response::refusal(ResponseCode::Refused, ExtendedError::NOT_SUPPORTED, "class IN only");
    }
    let Some(zone) = snapshot.zone(question.name.as_bytes()) else {
        return Response::refusal(ResponseCode::Refused, ExtendedError::NOT_AUTHORITATIVE, "no zone of ours");
    };
    if matches!(question.qtype, RecordType::AXFR | RecordType::IXFR) {
        return Response {
            zone: Some(&zone.name),
            ..Response::refusal(ResponseCode::Refused, ExtendedError::PROHIBITED, "no zone transfers")
        };
    }
    let response = Response { authoritative: true, zone: Some(&zone.name), ..Response::default() };
    Resolution { snapshot, zone, qtype: question.qtype, client, response }.run(question.name.as_bytes())
}

/// One question under way through one zone.
struct Resolution<'s, 'c> {
    snapshot: &'s Snapshot,
    zone: &'s Zone,
    qtype: RecordType,
    client: &'c Client,
    response: Response<'s>,
}

impl<'s> Resolution<'s, '_> {
    /// RFC 1034 section 4.3.2 within one zone.
    fn run(mut self, question: &[u8]) -> Response<'s> {
        let (mut name, mut owner) = (question, Owner::Question);
        for _ in 0..=MAX_ALIASES {
            let node = match self.zone.find(name) {
                // The parent is asked for DS, and we sign nothing.
                Found::Delegation { cut, .. } if self.qtype == RecordType::DS && cut == name => {
                    return self.no_data();
                }
                Found::Delegation { cut, node } => return self.refer(cut, node),
                Found::Nothing => return self.no_name(),
                Found::Node(node) => node,
            };
            let alias = node.rrset(RecordType::CNAME).filter(|_| self.qtype != RecordType::CNAME);
            let Some(alias) = alias else { return self.finish(owner, node) };
            self.response.answers.extend(records(owner, alias));
            let Some(Rr { data: Rdata::Name(target), .. }) = self.response.answers.last() else { break };
            // Other zones are the resolver's to ask, also those that happen to be ours.
            if self.qtype == RecordType::ANY || !is_within(target, self.zone.apex.as_bytes()) {
                break;
            }
            (name, owner) = (target, Owner::Name(target));
        }
        self.response
    }

    /// What stands at the end of the chain.
    fn finish(mut self, owner: Owner<'s>, node: &'s Node) -> Response<'s> {
        if self.qtype == RecordType::ANY && !node.is_empty() {
            let data = Rdata::Bytes(ANY_HINFO);
            self.response.answers.push(Rr { owner, rtype: RecordType::HINFO, ttl: ANY_TTL, data });
            return self.response;
        }
        if let Some(steered) = node.steered.and_then(|place| self.snapshot.steered(self.zone.place, place)) {
            let is_steered = match self.qtype {
                RecordType::A | RecordType::AAAA => true,
                RecordType::HTTPS | RecordType::SVCB => steered.https.is_some(),
                _ => false,
            };
            if is_steered {
                return self.steer(owner, steered);
            }
        }
        if self.qtype == RecordType::SOA && self.is_apex(node) {
            let soa = self.soa(APEX_TTL);
            self.response.answers.push(soa);
            return self.response;
        }
        match node.rrset(self.qtype) {
            Some(set) => self.response.answers.extend(records(owner, set)),
            None => return self.no_data(),
        }
        self.response
    }

    fn steer(mut self, owner: Owner<'s>, steered: &'s Steered) -> Response<'s> {
        let Steered { ttl, https, steering } = steered;
        if self.client.is_subnet && steering.is_fenced() {
            // Also of what is refused or not there: other clients may be told otherwise.
            self.response.scope = self.client.unit.prefix();
        }
        let [v4, v6] = steering.pools_for(self.client.unit);
        let choices = match self.qtype {
            RecordType::A => [self.pick(steering, v4), Ok(None)],
            RecordType::AAAA => [self.pick(steering, v6), Ok(None)],
            _ => [self.pick(steering, v4), self.pick(steering, v6)],
        };
        let (first, second) = match choices {
            [Ok(first), Ok(second)] => (first, second),
            [Err(text), _] | [_, Err(text)] => {
                self.response.rcode = ResponseCode::ServFail;
                self.response.authoritative = false;
                self.response.answers.clear();
                self.response.extended_error = Some(ExtendedError { code: ExtendedError::OTHER, text });
                return self.response;
            }
        };
        let Some(leading) = first.as_ref().or(second.as_ref()) else { return self.no_data() };
        self.response.region = leading.addresses.first().map(|(member, _)| &member.region);
        if let Some(text) = leading.all_down {
            self.response.extended_error = Some(ExtendedError { code: ExtendedError::OTHER, text });
        }
        if self.client.is_subnet {
            self.response.scope = [&first, &second].into_iter().flatten().map(|choice| choice.scope).max().unwrap_or(0);
        }
        let (rtype, ttl) = (self.qtype, ttl.of(self.client.unit, self.client.resolver));
        if let (Some(parameters), RecordType::HTTPS | RecordType::SVCB) = (https, rtype) {
            let data = Rdata::Made(binding(parameters, [&first, &second]));
            self.response.answers.push(Rr { owner, rtype, ttl, data });
            return self.response;
        }
        for (_, address) in first.into_iter().flat_map(|choice| choice.addresses) {
            self.response.answers.push(Rr { owner, rtype, ttl, data: Rdata::Address(address.ip) });
        }
        self.response
    }

    /// The client's choice from one pool: none if there is no address of its family, an error if nothing is answered.
    fn pick(&self, steering: &'s Steering, pool: &'s Pool) -> Result<Option<Choice<'s>>, &'static str> {
        match pool {
            Pool::Members(members) => Ok(steering.choose(members, self.client.unit)),
            Pool::NoAddress => Ok(None),
            Pool::Refuse(text) => Err(text),
        }
    }

    /// The name exists, what was asked for does not (RFC 2308 section 2.2).
    fn no_data(mut self) -> Response<'s> {
        let soa = self.soa(self.zone.soa.minimum.min(APEX_TTL));
        self.response.authority.push(soa);
        self.response
    }

    /// The name does not exist; that is said of the chain's end, whatever its beginning (RFC 6604).
    fn no_name(mut self) -> Response<'s> {
        self.response.rcode = ResponseCode::NXDomain;
        self.no_data()
    }

    /// The name servers of another zone, with their addresses as far as this zone knows them.
    fn refer(mut self, cut: &'s [u8], node: &'s Node) -> Response<'s> {
        if !self.response.answers.is_empty() {
            // An alias into a delegated zone: the alias is ours to say, the rest is the resolver's to ask.
            return self.response;
        }
        self.response.authoritative = false;
        let Some(servers) = node.rrset(RecordType::NS) else { return self.response };
        self.response.authority.extend(records(Owner::Name(cut), servers));
        for server in records(Owner::Name(cut), servers) {
            let Rdata::Name(name) = server.data else { continue };
            let Some(glue) = self.zone.node(name) else { continue };
            for rtype in [RecordType::A, RecordType::AAAA] {
                let set = glue.rrset(rtype).into_iter();
                self.response.glue.extend(set.flat_map(|set| records(Owner::Name(name), set)));
            }
        }
        self.response
    }

    fn soa(&self, ttl: u32) -> Rr<'s> {
        let data = Rdata::Soa(&self.zone.soa, self.snapshot.serial);
        Rr { owner: Owner::Name(self.zone.apex.as_bytes()), rtype: RecordType::SOA, ttl, data }
    }

    fn is_apex(&self, node: &Node) -> bool {
        self.zone.node(self.zone.apex.as_bytes()).is_some_and(|apex| std::ptr::eq(apex, node))
    }
}

/// The name's binding to itself; its hints are what A and AAAA are answered with (RFC 9460 section 7.3).
fn binding(parameters: &ServiceParameters, choices: [&Option<Choice<'_>>; 2]) -> Box<[u8]> {
    let mut parameters = parameters.clone();
    for (_, address) in choices.into_iter().flatten().flat_map(|choice| &choice.addresses) {
        match address.ip {
            IpAddr::V4(address) => parameters.ipv4_hint.push(address),
            IpAddr::V6(address) => parameters.ipv6_hint.push(address),
        }
    }
    service_binding(&ServiceBinding { priority: 1, target: None, parameters }).into()
}
