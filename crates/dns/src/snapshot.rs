//! Everything that answers come from, compiled from the configuration and the plan; immutable, swapped whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use meridian_types::{CommitId, Configuration, DomainName, Plan, PlanId, RegionName};

use crate::classes::{Classes, Criteria, Networks};
use crate::fleet::Fleet;
use crate::geo::GeoDatabase;
use crate::lineup::MAX_FRONTS;
use crate::pool::Steering;
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
    steering: Vec<Vec<Steering>>,
    classes: Vec<Known>,
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

impl Snapshot {
    /// Compiles; what `previous` has of the same configuration is used again.
    pub fn compile(inputs: Inputs, previous: Option<&Self>) -> Self {
        let previous = previous.filter(|old| Arc::ptr_eq(&old.inputs.configuration, &inputs.configuration));
        let zones = previous.map_or_else(|| Arc::new(Zones::compile(&inputs.configuration)), |old| old.zones.clone());
        let same_geo =
            previous.filter(|old| old.inputs.geo.as_ref().map(Arc::as_ptr) == inputs.geo.as_ref().map(Arc::as_ptr));
        let mut classes = same_geo.map(|old| old.classes.clone()).unwrap_or_default();
        let fleet = Fleet::new(&inputs.configuration, inputs.plan.as_deref(), &inputs.gone);
        let mut room = MAX_FRONTS;
        let mut steering = Vec::with_capacity(inputs.configuration.zones.len());
        for (place, declared) in inputs.configuration.zones.values().enumerate() {
            let networks = zones.networks(&declared.name);
            let steer = |name| {
                let classes = |criteria| known(&mut classes, place, criteria, inputs.geo.as_deref(), networks);
                Steering::compile(name, &inputs.configuration, &fleet, classes, &mut room)
            };
            steering.push(declared.steered.iter().map(steer).collect());
        }
        let (serial, version) = match inputs.plan.as_deref().map(|plan| plan.id) {
            Some(id) => (id.number, format!("plan-{id}")),
            None => (inputs.commit.0, format!("commit-{}", inputs.commit)),
        };
        // Serials wrap around by design (RFC 1982).
        let serial = (serial & u64::from(u32::MAX)) as u32;
        let nsid = format!("{}@{version}", inputs.node);
        Self { zones, steering, classes, serial, nsid, inputs }
    }

    /// The plan that answers follow.
    pub fn plan(&self) -> Option<PlanId> {
        self.inputs.plan.as_deref().map(|plan| plan.id)
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

    pub(crate) fn steering(&self, zone: usize, place: usize) -> Option<&Steering> {
        self.steering.get(zone)?.get(place)
    }

    /// Every steered name.
    pub(crate) fn steered(&self) -> impl Iterator<Item = (&DomainName, &Steering)> {
        let names = self.inputs.configuration.zones.values().flat_map(|zone| &zone.steered).map(|name| &name.name);
        names.zip(self.steering.iter().flatten())
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
