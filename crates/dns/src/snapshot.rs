//! Everything that answers come from, compiled from the configuration and the plan; immutable, swapped whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use meridian_types::{CommitId, Configuration, Plan, PlanId, RegionName};

use crate::fleet::Fleet;
use crate::geo::GeoDatabase;
use crate::pool::Steering;
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
    /// Of every zone's SOA.
    pub(crate) serial: u32,
    /// RFC 5001: who answers, under which plan.
    pub(crate) nsid: String,
}

impl Snapshot {
    /// Compiles; what `previous` has of the same configuration is used again.
    pub fn compile(inputs: Inputs, previous: Option<&Self>) -> Self {
        let zones = previous
            .filter(|previous| Arc::ptr_eq(&previous.inputs.configuration, &inputs.configuration))
            .map(|previous| Arc::clone(&previous.zones))
            .unwrap_or_else(|| Arc::new(Zones::compile(inputs.configuration.zones.values())));
        let fleet = Fleet::new(&inputs.configuration, inputs.plan.as_deref(), &inputs.gone);
        let steer = |name| Steering::compile(name, &inputs.configuration, &fleet);
        let declared = inputs.configuration.zones.values();
        let steering = declared.map(|zone| zone.steered.iter().map(steer).collect()).collect();
        let (serial, version) = match inputs.plan.as_deref().map(|plan| plan.id) {
            Some(id) => (id.number, format!("plan-{id}")),
            None => (inputs.commit.0, format!("commit-{}", inputs.commit)),
        };
        // Serials wrap around by design (RFC 1982).
        let serial = (serial & u64::from(u32::MAX)) as u32;
        let nsid = format!("{}@{version}", inputs.node);
        Self { zones, steering, serial, nsid, inputs }
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

    pub(crate) fn steering(&self, zone: &Zone, place: usize) -> Option<&Steering> {
        self.steering.get(zone.place)?.get(place)
    }

    pub(crate) fn fleet(&self) -> Fleet<'_> {
        Fleet::new(&self.inputs.configuration, self.inputs.plan.as_deref(), &self.inputs.gone)
    }
}
