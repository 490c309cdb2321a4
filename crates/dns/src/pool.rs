//! Which regions a steered name may be answered with under one plan: everything about an answer that does not depend
//! on who asks.

use std::net::IpAddr;
use std::sync::Arc;

use meridian_types::record::ServiceParameters;
use meridian_types::zone::{AllDown, Policy, SteeredName};
use meridian_types::{Configuration, Coordinates, Jurisdiction, Region, RegionName};

use crate::classes::{Classes, Criteria};
use crate::fleet::{Fleet, home_share};
use crate::lineup::{Lineups, Shelf};
use crate::metrics::Series;
use crate::rendezvous::Seed;
use crate::subnet::Unit;
use crate::ttl::Ttl;
use crate::zone::seconds;

/// A steered name, ready to be asked.
#[derive(Debug)]
pub(crate) struct Steered {
    pub(crate) ttl: Ttl,
    /// What its HTTPS and SVCB records say beside the addresses.
    pub(crate) https: Option<ServiceParameters>,
    /// The same one for all names of the zone that are steered alike.
    pub(crate) steering: Arc<Steering>,
}

/// What decides who is answered what.
#[derive(Debug)]
pub(crate) struct Steering {
    pub(crate) policy: Policy,
    pub(crate) max_addresses: usize,
    /// Candidates are in one of these; empty: anywhere.
    pub(crate) fence: Vec<Jurisdiction>,
    /// Where clients are, for `nearest`.
    pub(crate) classes: Option<Arc<Classes>>,
    /// Every candidate, whatever its health: the nearest of them is a client's origin.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) v4: Pool,
    pub(crate) v6: Pool,
    /// Whether its answers are about to change.
    is_moving: bool,
    /// By candidate: what its clients are answered with instead, if its load may not go to all the others. The name is to
    /// these clients as if it named only the regions that they may be sent to.
    fenced: Vec<Option<[Pool; 2]>>,
}

/// A region that may be answered if it can serve.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) region: RegionName,
    /// The region's place among the configuration's.
    number: usize,
    pub(crate) coordinates: Coordinates,
    /// As declared: its part of the clients that several candidates are near to.
    pub(crate) weight: u32,
    /// Another one than the region's as a member: who is whose client must not depend on where clients then go.
    pub(crate) origin_seed: Seed,
}

/// What there is to answer for one address family.
#[derive(Debug)]
pub(crate) enum Pool {
    /// At least one region.
    Members(Members),
    /// The name has addresses, but none of this family.
    NoAddress,
    /// SERVFAIL, and why.
    Refuse(&'static str),
}

/// Regions that are answered.
#[derive(Debug)]
pub(crate) struct Members {
    /// In the order of preference; never empty.
    pub(crate) list: Vec<Member>,
    /// The place of each candidate in the list.
    places: Vec<Option<usize>>,
    /// Why regions are answered that do not take traffic, if so.
    pub(crate) all_down: Option<&'static str>,
    /// Whole answers, if some are ready.
    pub(crate) lineups: Option<Lineups>,
}

impl Members {
    /// The candidate, if it is answered.
    pub(crate) fn of_candidate(&self, candidate: usize) -> Option<&Member> {
        self.list.get((*self.places.get(candidate)?)?)
    }

    /// The place of one of them.
    pub(crate) fn place_of(&self, member: &Member) -> Option<usize> {
        self.list.iter().position(|known| std::ptr::eq(known, member))
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) region: RegionName,
    /// The region's place among the configuration's.
    pub(crate) number: usize,
    pub(crate) seed: Seed,
    /// Share of all clients.
    pub(crate) weight: u32,
    /// Share of the clients of each origin, in the order of the candidates.
    pub(crate) shares: Vec<u32>,
    /// Of the pool's family; never empty.
    pub(crate) addresses: Vec<Address>,
    /// Counts the answers that have it in front.
    pub(crate) series: Series,
}

/// One address of a region.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) seed: Seed,
    pub(crate) ip: IpAddr,
}

impl Address {
    pub(crate) fn new(ip: &IpAddr) -> Self {
        Self { seed: Seed::of(ip.to_string().as_bytes()), ip: *ip }
    }
}

const OPEN: &str = "no region of this name takes traffic: answered as if all did";
const OPEN_DRAINED: &str = "no region of this name takes traffic: answered with the drained ones, which still serve";
const FAILED_OVER: &str = "no region of this name takes traffic: answered with the region declared for that";
const REFUSED: &str = "no region of this name takes traffic";
const NO_ADDRESS: &str = "no address of any region of this name is known";

/// Address families, as a filter.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    V4,
    V6,
}

/// Where weights and shares come from.
#[derive(Clone, Copy)]
enum Shares {
    Plan,
    Declaration,
}

impl Steered {
    pub(crate) fn new(name: &SteeredName, steering: Arc<Steering>) -> Self {
        Self { ttl: Ttl::new(seconds(name.ttl), steering.is_moving), https: name.https.clone(), steering }
    }
}

impl Steering {
    /// `classes` is called for policies that mind where clients are; `shelf` is where answers are put that are ready.
    pub(crate) fn compile(
        name: &SteeredName,
        configuration: &Configuration,
        fleet: &Fleet<'_>,
        classes: impl FnOnce(Criteria) -> Arc<Classes>,
        shelf: &mut Shelf,
    ) -> Self {
        // The fence is the first thing: what is outside is no candidate, whatever happens to those inside.
        let fence =
            |region: &Region| name.jurisdictions.is_empty() || name.jurisdictions.contains(&region.jurisdiction);
        let candidate = |region: &RegionName| {
            let declared = configuration.regions.get(region).filter(|declared| fence(declared))?;
            let origin_seed = Seed::of(format!("origin {region}").as_bytes());
            let (coordinates, weight) = (declared.coordinates, declared.weight);
            let number = configuration.regions.keys().take_while(|known| *known != region).count();
            Some(Candidate { region: region.clone(), number, coordinates, weight, origin_seed })
        };
        let candidates: Vec<Candidate> = name.regions.iter().filter_map(candidate).collect();
        let refuge = match &name.all_down {
            AllDown::FailTo(region) => candidate(region),
            AllDown::FailOpen | AllDown::Refuse => None,
        };
        let builder = Builder { fleet, candidates: &candidates, all_down: &name.all_down, refuge: refuge.as_ref() };
        let pools = |may: &dyn Fn(&Candidate) -> bool| [Family::V4, Family::V6].map(|family| builder.pool(may, family));
        let [v4, v6] = pools(&|_| true);
        let declared = |candidate: &Candidate| configuration.regions.get(&candidate.region);
        let fence_of = |origin: &Candidate| {
            let origin = declared(origin)?;
            let may = |to: &Candidate| declared(to).is_some_and(|to| origin.may_use(to));
            (!candidates.iter().chain(&refuge).all(may)).then(|| pools(&may))
        };
        let fenced = match name.policy {
            Policy::Nearest => candidates.iter().map(fence_of).collect(),
            // Whose clients these are is not asked, or the name itself says where they go.
            Policy::Weighted | Policy::Failover => Vec::new(),
        };
        let classes = (name.policy == Policy::Nearest).then(|| {
            let coordinates = candidates.iter().map(|candidate| candidate.coordinates).collect();
            classes(Criteria { candidates: coordinates, band_km: name.band_km })
        });
        let is_open = [&v4, &v6].iter().any(|pool| matches!(pool, Pool::Members(Members { all_down: Some(_), .. })));
        let is_moving = is_open || candidates.iter().any(|candidate| fleet.is_moving(&candidate.region));
        let (policy, max_addresses, fence) = (name.policy, name.max_addresses, name.jurisdictions.clone());
        let mut steering = Self { policy, max_addresses, fence, classes, candidates, v4, v6, is_moving, fenced };
        let lineups: Vec<Option<Lineups>> = steering
            .origins()
            .map(|(pool, origin)| match pool {
                Pool::Members(members) => steering.line_up(members, origin, shelf),
                Pool::NoAddress | Pool::Refuse(_) => None,
            })
            .collect();
        for (pool, ready) in steering.all_pools_mut().zip(lineups) {
            if let Pool::Members(members) = pool {
                members.lineups = ready;
            }
        }
        steering
    }

    /// What the clients of `unit` may be answered with, of either family.
    pub(crate) fn pools_for(&self, unit: Unit) -> [&Pool; 2] {
        let fenced = || {
            let found = self.classes.as_ref()?.of(unit)?;
            self.fenced.get(self.origin(found.class, unit))?.as_ref()
        };
        match self.is_fenced().then(fenced).flatten() {
            Some([v4, v6]) => [v4, v6],
            None => [&self.v4, &self.v6],
        }
    }

    /// Whether some clients may be sent to fewer regions than others: then no answer is everybody's.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.iter().any(Option::is_some)
    }

    /// Whether the clients of an origin may be sent to fewer regions than others.
    pub(crate) fn has_own_pools(&self, origin: usize) -> bool {
        self.fenced.get(origin).is_some_and(Option::is_some)
    }

    /// Whether all answers are encoded already.
    pub(crate) fn is_ready(&self) -> bool {
        self.all_pools().all(|pool| !matches!(pool, Pool::Members(Members { lineups: None, .. })))
    }

    /// Every pool, with the one origin whose clients it is for.
    fn origins(&self) -> impl Iterator<Item = (&Pool, Option<usize>)> {
        let fenced = self.fenced.iter().enumerate();
        let fenced = fenced.flat_map(|(at, pools)| pools.iter().flatten().map(move |pool| (pool, Some(at))));
        [(&self.v4, None), (&self.v6, None)].into_iter().chain(fenced)
    }

    fn all_pools_mut(&mut self) -> impl Iterator<Item = &mut Pool> {
        [&mut self.v4, &mut self.v6].into_iter().chain(self.fenced.iter_mut().flatten().flatten())
    }

    /// Everything that anybody may be answered with.
    pub(crate) fn all_pools(&self) -> impl Iterator<Item = &Pool> {
        [&self.v4, &self.v6].into_iter().chain(self.fenced.iter().flatten().flatten())
    }
}

struct Builder<'a> {
    fleet: &'a Fleet<'a>,
    candidates: &'a [Candidate],
    all_down: &'a AllDown,
    refuge: Option<&'a Candidate>,
}

impl Builder<'_> {
    /// Of the regions that pass.
    fn pool(&self, may: &dyn Fn(&Candidate) -> bool, family: Family) -> Pool {
        let with_addresses =
            |candidate: &&Candidate| may(candidate) && !self.fleet.addresses(&candidate.region).is_empty();
        let known: Vec<&Candidate> = self.candidates.iter().filter(with_addresses).collect();
        let select = |test: &dyn Fn(&RegionName) -> bool| -> Vec<&Candidate> {
            known.iter().copied().filter(|candidate| test(&candidate.region)).collect()
        };
        let alive = select(&|region| self.fleet.serves(region));
        if !alive.is_empty() {
            return self.members(&alive, family, Shares::Plan, None);
        }
        match self.all_down {
            AllDown::Refuse => Pool::Refuse(REFUSED),
            AllDown::FailTo(_) => {
                let refuge: Vec<&Candidate> = self.refuge.into_iter().filter(with_addresses).collect();
                self.members(&refuge, family, Shares::Declaration, Some(FAILED_OVER))
            }
            AllDown::FailOpen => {
                let drained = select(&|region| self.fleet.is_drained(region));
                let (list, why) = if drained.is_empty() { (&known, OPEN) } else { (&drained, OPEN_DRAINED) };
                self.members(list, family, Shares::Declaration, Some(why))
            }
        }
    }

    /// The regions' addresses of the family. None at all is no reason for an empty answer: resolvers would keep it.
    /// None of this family is, even if a region that is down has some: clients then use the other family at once.
    fn members(&self, regions: &[&Candidate], family: Family, shares: Shares, all_down: Option<&'static str>) -> Pool {
        if regions.is_empty() {
            return Pool::Refuse(NO_ADDRESS);
        }
        let list: Vec<Member> = regions.iter().filter_map(|candidate| self.member(candidate, family, shares)).collect();
        if list.is_empty() {
            return Pool::NoAddress;
        }
        let place = |candidate: &Candidate| list.iter().position(|member| member.region == candidate.region);
        let places = self.candidates.iter().map(place).collect();
        Pool::Members(Members { list, places, all_down, lineups: None })
    }

    fn member(&self, candidate: &Candidate, family: Family, shares: Shares) -> Option<Member> {
        let region = &candidate.region;
        let addresses = self.fleet.addresses(region).iter().filter(|a| a.is_ipv4() == (family == Family::V4));
        let addresses: Vec<Address> = addresses.map(Address::new).collect();
        if addresses.is_empty() {
            return None;
        }
        let share = |origin: &Candidate| match shares {
            Shares::Plan => self.fleet.share(&origin.region, region),
            Shares::Declaration => home_share(&origin.region, region),
        };
        Some(Member {
            region: region.clone(),
            number: candidate.number,
            seed: Seed::of(region.as_str().as_bytes()),
            weight: match shares {
                Shares::Plan => self.fleet.weight(region),
                Shares::Declaration => self.fleet.declared_weight(region),
            },
            shares: self.candidates.iter().map(share).collect(),
            addresses,
            series: Series::default(),
        })
    }
}
