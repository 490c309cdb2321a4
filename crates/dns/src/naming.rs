//! Which regions answers name, and for how long caches may still hold answers that named them: what a drain is verified
//! with.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_types::zone::{AllDown, Policy, SteeredName};
use meridian_types::{DomainName, Permille, PlanId, RegionName};
use tokio::time::Instant;

use crate::pool::{Member, Members, Pool, Steered, Steering};
use crate::snapshot::Snapshot;

/// The whole, in parts per 1,000.
const WHOLE: Permille = 1000;

/// What answers name, and what they named before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    /// The plan that answers follow.
    pub plan: Option<PlanId>,
    /// Every configured region.
    pub regions: BTreeMap<RegionName, Naming>,
}

/// What is true of one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// A name whose answers may name the region, with the largest share that it has of any name's clients, or of the
    /// clients near to one region. `None`: no answer names it.
    pub named: Option<(DomainName, Permille)>,
    /// Since the last answer that named it; zero while answers do.
    pub unnamed_for: Duration,
    /// Counted from that last answer: for so long resolvers that keep to the TTL may hold one that names it.
    pub cached_for: Duration,
}

/// When each region was last named. What a process before this one answered is not known: it counts as if it had named
/// every region, with their longest TTLs, until this one first knew them.
#[derive(Debug, Default)]
pub(crate) struct History(BTreeMap<RegionName, Last>);

#[derive(Debug, Clone, Copy)]
struct Last {
    named_at: Instant,
    cached_until: Instant,
}

/// A region in the answers of one snapshot.
#[derive(Debug, Clone)]
struct Named<'a> {
    name: &'a DomainName,
    permille: Permille,
    ttl: Duration,
}

impl History {
    /// Answers came from `old` until now, and come from `new` from now on.
    pub(crate) fn turn(&mut self, old: &Snapshot, new: &Snapshot) {
        let now = Instant::now();
        self.note(&named(old), now);
        for region in new.inputs.configuration.regions.keys() {
            let first = || Last { named_at: now, cached_until: now + longest_ttl(new, region) };
            self.0.entry(region.clone()).or_insert_with(first);
        }
        let configured = &new.inputs.configuration.regions;
        self.0.retain(|region, last| configured.contains_key(region) || last.cached_until > now);
    }

    /// What is true now, while answers come from `snapshot`.
    pub(crate) fn served(&mut self, snapshot: &Snapshot) -> Served {
        let now = Instant::now();
        let named = named(snapshot);
        self.note(&named, now);
        let naming = |region: &RegionName| {
            let last = self.0.get(region).copied().unwrap_or(Last { named_at: now, cached_until: now });
            let naming = Naming {
                named: named.get(region).map(|named| (named.name.clone(), named.permille)),
                unnamed_for: now.duration_since(last.named_at),
                cached_for: last.cached_until.duration_since(last.named_at),
            };
            (region.clone(), naming)
        };
        let regions = snapshot.inputs.configuration.regions.keys().map(naming).collect();
        Served { plan: snapshot.plan(), regions }
    }

    fn note(&mut self, named: &BTreeMap<&RegionName, Named<'_>>, now: Instant) {
        for (region, named) in named {
            let last = self.0.entry((*region).clone()).or_insert(Last { named_at: now, cached_until: now });
            last.named_at = now;
            last.cached_until = last.cached_until.max(now + named.ttl);
        }
    }
}

/// The regions that answers from this snapshot may name.
fn named(snapshot: &Snapshot) -> BTreeMap<&RegionName, Named<'_>> {
    let mut regions: BTreeMap<&RegionName, Named<'_>> = BTreeMap::new();
    for (declared, Steered { ttl, steering, .. }) in snapshot.all_steered() {
        let ttl = Duration::from_secs(ttl.longest().into());
        for pool in steering.all_pools() {
            let Pool::Members(members) = pool else { continue };
            for member in &members.list {
                let this = Named { name: declared, permille: share(steering, members, member), ttl };
                let so_far = regions.entry(&member.region).or_insert_with(|| this.clone());
                so_far.ttl = so_far.ttl.max(ttl);
                if this.permille > so_far.permille {
                    (so_far.name, so_far.permille) = (this.name, this.permille);
                }
            }
        }
    }
    regions
}

/// Of all clients if the name goes by weight, else the largest of those near to one region.
fn share(steering: &Steering, members: &Members, member: &Member) -> Permille {
    if steering.policy != Policy::Weighted {
        return member.shares.iter().copied().max().unwrap_or(0);
    }
    let all: u32 = members.list.iter().map(|member| member.weight).sum();
    member.weight.saturating_mul(WHOLE).checked_div(all).unwrap_or(WHOLE)
}

/// Of the names that may ever name the region; configured, not what it is at the moment.
fn longest_ttl(snapshot: &Snapshot, region: &RegionName) -> Duration {
    let names = snapshot.inputs.configuration.zones.values().flat_map(|zone| &zone.steered);
    let may_name = |name: &&SteeredName| {
        name.regions.contains(region) || matches!(&name.all_down, AllDown::FailTo(refuge) if refuge == region)
    };
    names.filter(may_name).map(|name| name.ttl).max().unwrap_or_default()
}
