//! Why an answer is what it is, for people: the same functions as the answer, with every step written down.

use std::net::IpAddr;

use ipnet::IpNet;
use meridian_types::zone::Policy;
use meridian_types::{DomainName, RegionName};

use crate::locate::{Location, locate};
use crate::name::WireName;
use crate::pool::{Members, Pool, Steered, Steering};
use crate::snapshot::Snapshot;
use crate::subnet::Unit;
use crate::zone::{Found, Node, Zone};

/// A line a step. What cannot be read is explained as well.
pub(crate) fn explain(snapshot: &Snapshot, name: &str, from: &str) -> Vec<String> {
    let mut lines = Vec::new();
    match (DomainName::new(name), address(from)) {
        (Err(error), _) => lines.push(error.to_string()),
        (_, None) => lines.push(format!("{from:?} is neither an address nor a prefix such as 203.0.113.0/24")),
        (Ok(name), Some(address)) => Explanation { snapshot, lines: &mut lines }.run(&name, address),
    }
    lines
}

fn address(from: &str) -> Option<IpAddr> {
    from.parse::<IpAddr>().ok().or_else(|| from.parse::<IpNet>().ok().map(|network| network.addr()))
}

struct Explanation<'e> {
    snapshot: &'e Snapshot,
    lines: &'e mut Vec<String>,
}

impl Explanation<'_> {
    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    fn run(&mut self, name: &DomainName, address: IpAddr) {
        match self.snapshot.plan() {
            Some(id) => self.say(format!("plan: {id}")),
            None => self.say("plan: none yet, so no region is known to serve".to_owned()),
        }
        let wire = WireName::from(name);
        let Some(zone) = self.snapshot.zone(wire.as_bytes()) else {
            return self.say(format!("zone: {name} is in no zone of ours: REFUSED"));
        };
        self.say(format!(
            "zone: {}, serial {}, commit {}",
            zone.name, self.snapshot.serial, self.snapshot.inputs.commit
        ));
        match zone.find(wire.as_bytes()) {
            Found::Nothing => self.say(format!("name: {name} does not exist: NXDOMAIN for {} s", zone.soa.minimum)),
            Found::Delegation { .. } => self.say(format!("name: {name} is delegated: referral to its name servers")),
            Found::Node(node) => match node.steered.and_then(|place| self.snapshot.steered(zone.place, place)) {
                Some(steered) => self.steered(name, zone, steered, Unit::of(address)),
                None => self.fixed(name, node),
            },
        }
    }

    fn fixed(&mut self, name: &DomainName, node: &Node) {
        let types: Vec<String> = node.rrsets.iter().map(|set| format!("{} (TTL {} s)", set.rtype, set.ttl)).collect();
        let types = if types.is_empty() { "nothing of its own".to_owned() } else { types.join(", ") };
        self.say(format!("name: {name} is not steered; everybody gets the same, scope /0; it has {types}"));
    }

    fn steered(&mut self, name: &DomainName, zone: &Zone, steered: &Steered, unit: Unit) {
        let Steered { ttl, https, steering } = steered;
        let policy = match steering.policy {
            Policy::Nearest => "nearest",
            Policy::Weighted => "weighted",
            Policy::Failover => "failover",
        };
        let max = steering.max_addresses;
        let seconds = match (ttl.shortest(), ttl.longest()) {
            (shortest, longest) if shortest == longest => format!("{longest} s"),
            (shortest, longest) => format!("{shortest} to {longest} s"),
        };
        let why = if ttl.is_moving { ", because the answer may soon change" } else { "" };
        self.say(format!("name: {name} is steered: {policy}, at most {max} addresses, TTL {seconds}{why}"));
        if !steering.fence.is_empty() {
            let fence: Vec<&str> = steering.fence.iter().map(|jurisdiction| jurisdiction.as_str()).collect();
            self.say(format!("fence: only regions in {}", fence.join(", ")));
        }
        let location = locate(unit, self.snapshot.inputs.geo.as_deref(), &zone.networks);
        self.located(unit, &location);
        let class = steering.classes.as_ref().and_then(|classes| classes.of(unit)).map(|found| found.class);
        let origin = class.map(|class| steering.origin(class, unit));
        if let (Policy::Nearest, Some(origin)) = (steering.policy, origin.and_then(|at| steering.candidates.get(at))) {
            let why = match class.map_or(1, |class| class.band) {
                1 => "the nearest candidate whatever its health".to_owned(),
                band => format!("one of the {band} nearest candidates, by weight and whatever their health"),
            };
            self.say(format!("origin: {}, {why}", origin.region));
            self.fence_of(&origin.region, steering);
        }
        self.candidates(steering, &location);
        let [v4, v6] = steering.pools_for(unit);
        self.chosen("A", v4, steering, unit, origin);
        self.chosen("AAAA", v6, steering, unit, origin);
        if let Some(https) = https {
            let port = https.port.unwrap_or(443);
            self.say(format!("HTTPS: {} on port {port}; hints are these addresses", https.alpn.join(", ")));
        }
    }

    /// Candidates that the origin's clients are never sent to.
    fn fence_of(&mut self, origin: &RegionName, steering: &Steering) {
        let regions = &self.snapshot.inputs.configuration.regions;
        let Some(from) = regions.get(origin) else { return };
        let outside = |to: &&RegionName| regions.get(*to).is_some_and(|to| !from.may_use(to));
        let outside: Vec<&str> =
            steering.candidates.iter().map(|c| &c.region).filter(outside).map(RegionName::as_str).collect();
        if !outside.is_empty() {
            self.say(format!("fence of {origin}: its overflow jurisdictions leave out {}", outside.join(", ")));
        }
    }

    fn located(&mut self, unit: Unit, location: &Location) {
        let source = location.source;
        match location.coordinates {
            Some(at) => self.say(format!("client: {unit} is at {:.2}, {:.2} ({source})", at.latitude, at.longitude)),
            None => self.say(format!("client: where {unit} is: {source}, so regions are chosen by weight")),
        }
    }

    fn candidates(&mut self, steering: &Steering, location: &Location) {
        let fleet = self.snapshot.fleet();
        for candidate in &steering.candidates {
            let region = &candidate.region;
            let verdict = fleet.verdict(region).as_str();
            let reason = self.snapshot.inputs.plan.as_deref().and_then(|plan| plan.regions.get(region));
            let reason = reason.map(|known| format!(" ({})", known.reason)).unwrap_or_default();
            let distance = location.coordinates.map(|at| format!(", {:.0} km", candidate.coordinates.distance_km(at)));
            let distance = distance.unwrap_or_default();
            let fate = match (fleet.serves(region), fleet.addresses(region).len()) {
                (true, 0) => "left out: it has no address",
                (true, _) => "stays",
                (false, _) => "left out: it takes no traffic",
            };
            let weight = fleet.weight(region);
            self.say(format!("candidate: {region}{distance}, weight {weight}, {verdict}{reason}: {fate}"));
        }
    }

    fn chosen(&mut self, family: &str, pool: &Pool, steering: &Steering, unit: Unit, origin: Option<usize>) {
        let members = match pool {
            Pool::Members(members) => members,
            Pool::NoAddress => return self.say(format!("{family}: no address of this family: NODATA")),
            Pool::Refuse(why) => return self.say(format!("{family}: {why}: SERVFAIL")),
        };
        if let Some(why) = members.all_down {
            self.say(format!("{family}: {why}"));
        }
        if let (Policy::Nearest, Some(origin)) = (steering.policy, origin) {
            self.say(format!("{family}: placement of the origin's clients: {}", placement(members, origin)));
        }
        let Some(choice) = steering.choose(members, unit) else { return };
        let addresses: Vec<String> =
            choice.addresses.iter().map(|(member, address)| format!("{} ({})", address.ip, member.region)).collect();
        let for_whom = match choice.scope {
            0 => "everybody gets the same",
            scope if scope < unit.prefix() => "everybody of this block gets the same",
            _ => "other networks may get something else",
        };
        self.say(format!("{family}: {}; scope /{}: {for_whom}", addresses.join(", "), choice.scope));
    }
}

fn placement(members: &Members, origin: usize) -> String {
    let shares = members.list.iter().filter_map(|member| match member.shares.get(origin) {
        Some(share) if *share > 0 => Some(format!("{} {share}", member.region)),
        _ => None,
    });
    let shares: Vec<String> = shares.collect();
    if shares.is_empty() { "none of those left, so by distance".to_owned() } else { shares.join(", ") }
}
