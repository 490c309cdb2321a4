//! The faults that operators have injected: which calls they strike, and when they end. They end by this node's own
//! clock, whether or not the control plane is there to say so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use meridian_proto::fleet::v1::fault_spec;
use meridian_proto::node::v1;
use meridian_routing::TargetId;
use meridian_types::RegionName;
use tokio::time::Instant;

use crate::scope::Scope;

/// Faults obeyed at once; the control plane allows as many.
const MAX_FAULTS: usize = 16;
/// No fault lasts longer, whatever the control plane says.
const MAX_LIFE: Duration = Duration::from_secs(3600);

/// All that hold.
#[derive(Default)]
pub(crate) struct Faults {
    held: ArcSwap<Vec<Fault>>,
    /// Epoch and revision of the list that is held: replicas that lag send older ones.
    newest: Mutex<(u64, u64)>,
}

/// One of them.
struct Fault {
    id: Arc<str>,
    scope: Scope,
    share: f64,
    what: What,
    end: Instant,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The answer's head comes so much later.
    Latency(Duration),
    /// The upstream answers with this status.
    Error(u16),
    /// It never answers.
    Hang,
    /// The connection breaks after so many events.
    Cut(u32),
}

/// A call that is struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Strike {
    /// Of the fault.
    pub(crate) id: Arc<str>,
    pub(crate) what: What,
}

impl What {
    /// The stable name, as in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Latency(_) => "latency",
            Self::Error(_) => "error",
            Self::Hang => "hang",
            Self::Cut(_) => "cut",
        }
    }
}

impl Faults {
    /// From now on these hold for a node of `region`, unless a newer list was seen.
    pub(crate) fn replace(&self, list: &v1::FaultList, region: &RegionName) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let order = (list.epoch, list.revision);
        // Every replica sends the same list; the first one's ends hold.
        if order <= *newest {
            return;
        }
        *newest = order;
        let now = Instant::now();
        let read = list.faults.iter().filter_map(|active| Fault::read(active, region, now));
        let faults: Vec<Fault> = read.take(MAX_FAULTS).collect();
        if !faults.is_empty() || !self.held.load().is_empty() {
            let ids: Vec<&str> = faults.iter().map(|fault| &*fault.id).collect();
            tracing::warn!(?ids, "injected faults that hold here");
        }
        self.held.store(Arc::new(faults));
    }

    /// Whether a call of the target is struck now, and how: by the first that hits.
    pub(crate) fn strike(&self, target: &TargetId, unit: impl FnMut() -> f64) -> Option<Strike> {
        self.hit(|fault| fault.scope.has(target), unit)
    }

    /// Whether a probe of a provider fails: only by what strikes all of its targets, as a probe is about none of them.
    pub(crate) fn fails_probe(&self, provider: &str, unit: impl FnMut() -> f64) -> bool {
        let is_deadly = |what: What| match what {
            What::Error(status) => status >= 500,
            What::Hang => true,
            What::Latency(_) | What::Cut(_) => false,
        };
        let about = |fault: &Fault| fault.scope.has_all_of(provider) && is_deadly(fault.what);
        self.hit(about, unit).is_some()
    }

    fn hit(&self, about: impl Fn(&Fault) -> bool, mut unit: impl FnMut() -> f64) -> Option<Strike> {
        let held = self.held.load();
        if held.is_empty() {
            return None;
        }
        let now = Instant::now();
        let struck = held.iter().find(|fault| now < fault.end && about(fault) && unit() < fault.share)?;
        Some(Strike { id: Arc::clone(&struck.id), what: struck.what })
    }
}

impl Fault {
    /// `None`: it is not about this region, or of a kind that a newer build knows.
    fn read(active: &v1::ActiveFault, region: &RegionName, now: Instant) -> Option<Self> {
        use fault_spec::Kind;
        let fault = active.fault.as_ref()?;
        let spec = fault.spec.as_ref()?;
        if !spec.region.is_empty() && spec.region != region.as_str() {
            return None;
        }
        let what = match spec.kind? {
            Kind::LatencyMs(ms) => What::Latency(Duration::from_millis(ms.into())),
            Kind::ErrorStatus(status) => What::Error(u16::try_from(status).ok()?),
            Kind::Hang(_) => What::Hang,
            Kind::CutAfterEvents(events) => What::Cut(events),
        };
        Some(Self {
            id: fault.id.as_str().into(),
            scope: Scope { provider: spec.provider.clone(), model: spec.model.clone() },
            share: f64::from(spec.share_permille) / 1000.0,
            what,
            end: now + Duration::from_millis(active.left_ms.into()).min(MAX_LIFE),
        })
    }
}

#[cfg(test)]
mod tests;
