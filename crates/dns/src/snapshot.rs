//! Everything that answers come from, compiled from the configuration and the plan; immutable, swapped whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meridian_types::zone::{AllDown, Policy, SteeredName};
use meridian_types::{CommitId, Configuration, DomainName, Jurisdiction, Plan, PlanId, RegionName};

use crate::classes::{Classes, Criteria, Networks};
use crate::fleet::Fleet;
use crate::geo::GeoDatabase;
use crate::lineup::Shelf;
use crate::pool::{Steered, Steering};
use crate::ready::Ready;
use crate::zone::{Zone, Zones};

/// What a snapshot is made from.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The commit that `configuration` is the content of.
    pub commit: CommitId,
    /// Zones and regions.
    pub configuration: Arc<Configuration>,
    /// The newest plan. Without one no region is known to serve.
    pub plan: Option<Arc<Plan>>,
    /// Regions that the nodes agreed are gone although the plan has them serving.
    pub gone: BTreeSet<RegionName>,
    /// Where clients are.
    pub geo: Option<Arc<GeoDatabase>>,
    /// The answering node, for NSID.
    pub node: Arc<str>,
}

/// What queries are answered from.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) inputs: Inputs,
    zones: Arc<Zones>,
    /// By zone, by steered name in the order of the declaration.
    steered: Vec<Vec<Steered>>,
    classes: Vec<Known>,
    ready_bytes: usize,
    /// Of every zone's SOA.
    pub(crate) serial: u32,
    /// RFC 5001: who answers, under which plan.
    pub(crate) nsid: String,
}

/// Geo classes of a zone's names, for every plan of one configuration and database.
#[derive(Debug, Clone)]
struct Known {
    zone: usize,
    criteria: Criteria,
    classes: Arc<Classes>,
}

/// What a declaration says of how its name is steered, which is all but what each answer is made with: names of which it says
/// the same are answered alike.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alike<'c> {
    policy: Policy,
    regions: &'c [RegionName],
    max_addresses: usize,
    band_km: u32,
    jurisdictions: &'c [Jurisdiction],
    all_down: &'c AllDown,
}

impl<'c> Alike<'c> {
    fn of(declared: &'c SteeredName) -> Self {
        // None is left out unseen: what is not steered by is named, too.
        let SteeredName { name: _, policy, regions, ttl: _, max_addresses, band_km, jurisdictions, https: _, all_down } =
            declared;
        let (policy, max_addresses, band_km) = (*policy, *max_addresses, *band_km);
        Self { policy, regions, max_addresses, band_km, jurisdictions, all_down }
    }
}

impl Snapshot {
    /// Compiles; what `previous` has of the same configuration is used again.
    pub fn compile(inputs: Inputs, previous: Option<&Self>) -> Self {
        Self::with_shelf(inputs, previous, Shelf::default())
    }

    /// The same, with so much room for ready answers.
    pub(crate) fn with_shelf(inputs: Inputs, previous: Option<&Self>, mut shelf: Shelf) -> Self {
        let previous = previous.filter(|old| Arc::ptr_eq(&old.inputs.configuration, &inputs.configuration));
        let zones = previous.map_or_else(|| Arc::new(Zones::compile(&inputs.configuration)), |old| old.zones.clone());
        let same_geo =
            previous.filter(|old| old.inputs.geo.as_ref().map(Arc::as_ptr) == inputs.geo.as_ref().map(Arc::as_ptr));
        let mut classes = same_geo.map(|old| old.classes.clone()).unwrap_or_default();
        let fleet = Fleet::new(&inputs.configuration, inputs.plan.as_deref(), &inputs.gone);
        let mut steered = Vec::with_capacity(inputs.configuration.zones.len());
        for (place, declared) in inputs.configuration.zones.values().enumerate() {
            let networks = zones.networks(&declared.name);
            let mut alike = BTreeMap::new();
            let mut names = Vec::with_capacity(declared.steered.len());
            for name in &declared.steered {
                let compile = || {
                    let classes = |criteria| known(&mut classes, place, criteria, inputs.geo.as_deref(), networks);
                    Arc::new(Steering::compile(name, &inputs.configuration, &fleet, classes, &mut shelf))
                };
                let steering = alike.entry(Alike::of(name)).or_insert_with(compile);
                names.push(Steered::new(name, Arc::clone(steering)));
            }
            steered.push(names);
        }
        let (serial, version) = match inputs.plan.as_deref().map(|plan| plan.id) {
            Some(id) => (id.number, format!("plan-{id}")),
            None => (inputs.commit.0, format!("commit-{}", inputs.commit)),
        };
        // Serials wrap around by design (RFC 1982).
        let serial = (serial & u64::from(u32::MAX)) as u32;
        let nsid = format!("{}@{version}", inputs.node);
        Self { zones, steered, classes, ready_bytes: shelf.bytes(), serial, nsid, inputs }
    }

    /// The plan that answers follow.
    pub fn plan(&self) -> Option<PlanId> {
        self.inputs.plan.as_deref().map(|plan| plan.id)
    }

    /// Bytes of the steered answers that are encoded already.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Steered names for whose answers there was no room: they are made when they are asked for.
    pub fn unready_names(&self) -> usize {
        self.all_steered().filter(|(_, steered)| !steered.steering.is_ready()).count()
    }

    /// Whether any zone is known.
    pub fn has_zones(&self) -> bool {
        !self.zones.is_empty()
    }

    pub(crate) fn zone(&self, name: &[u8]) -> Option<&Zone> {
        self.zones.find(name)
    }

    pub(crate) fn ready(&self) -> &Ready {
        &self.zones.ready
    }

    pub(crate) fn steered(&self, zone: usize, place: usize) -> Option<&Steered> {
        self.steered.get(zone)?.get(place)
    }

    /// Every steered name.
    pub(crate) fn all_steered(&self) -> impl Iterator<Item = (&DomainName, &Steered)> {
        let names = self.inputs.configuration.zones.values().flat_map(|zone| &zone.steered).map(|name| &name.name);
        names.zip(self.steered.iter().flatten())
    }

    pub(crate) fn fleet(&self) -> Fleet<'_> {
        Fleet::new(&self.inputs.configuration, self.inputs.plan.as_deref(), &self.inputs.gone)
    }
}

/// The classes for these criteria, compiled if no other name of the zone has the same.
fn known(
    classes: &mut Vec<Known>,
    zone: usize,
    criteria: Criteria,
    geo: Option<&GeoDatabase>,
    networks: Option<&Networks>,
) -> Arc<Classes> {
    if let Some(known) = classes.iter().find(|known| known.zone == zone && known.criteria == criteria) {
        return Arc::clone(&known.classes);
    }
    let compiled = Arc::new(Classes::compile(&criteria, geo, networks.unwrap_or(&Networks::default())));
    classes.push(Known { zone, criteria, classes: Arc::clone(&compiled) });
    compiled
}
