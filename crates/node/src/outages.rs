//! Which upstreams other regions find down, as the control plane tells. It is a word, not an order: it makes this node
//! believe its own first failure, and keeps it from asking other regions for what they cannot serve either. It never takes a
//! target out by itself, and it is forgotten when nobody repeats it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use meridian_proto::fleet::v1 as fleet;
use meridian_proto::node::v1;
use meridian_routing::TargetId;
use meridian_types::{ModelName, ProviderName, RegionName};
use tokio::time::Instant;

/// Replicas repeat the list every 2 s; two may be lost.
const LIFE: Duration = Duration::from_secs(6);
/// Outages that are listened to; replicas send as many.
const MAX_OUTAGES: usize = 128;

/// What was told last.
#[derive(Default)]
pub(crate) struct Outages {
    told: ArcSwap<Told>,
    /// Epoch and revision of the list that is held: replicas that lag send older ones.
    newest: Mutex<(u64, u64)>,
}

#[derive(Default)]
struct Told {
    outages: Arc<BTreeMap<TargetId, Outage>>,
    /// `None`: nothing was told yet.
    until: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
struct Outage {
    everywhere: bool,
    regions: BTreeSet<RegionName>,
}

/// What was told of every target that a request may be served by: none of them is left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// All of them are down everywhere.
    Everywhere,
    /// All of them are down from these regions, at least.
    From(BTreeSet<RegionName>),
}

impl Outages {
    /// From now on these are told, unless a newer list was seen. Says of which targets regions other than `own` say so, and
    /// until when; `None`: the list is old.
    pub(crate) fn replace(&self, list: &v1::OutageList, own: &RegionName) -> Option<(BTreeSet<TargetId>, Instant)> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let order = (list.epoch, list.revision);
        if order < *newest {
            return None;
        }
        let until = Instant::now() + LIFE;
        let outages = if order == *newest && self.told.load().until.is_some() {
            Arc::clone(&self.told.load().outages)
        } else {
            if !list.outages.is_empty() || !self.told.load().outages.is_empty() {
                let text =
                    |outage: &fleet::UpstreamOutage| format!("{}:{} {}", outage.provider, outage.model, outage.text);
                let outages: Vec<_> = list.outages.iter().map(text).collect();
                tracing::info!(?outages, "upstreams that regions find down");
            }
            Arc::new(list.outages.iter().take(MAX_OUTAGES).filter_map(read).collect())
        };
        *newest = order;
        let others = outages.iter().filter(|(_, outage)| outage.regions.iter().any(|region| region != own));
        let others = others.map(|(target, _)| target.clone()).collect();
        self.told.store(Arc::new(Told { outages, until: Some(until) }));
        Some((others, until))
    }

    /// What was told of all `targets` alike; `None`: nothing, or it was too long ago.
    pub(crate) fn about<'a>(&self, targets: impl Iterator<Item = &'a TargetId>) -> Option<Word> {
        let told = self.told.load();
        if told.outages.is_empty() || told.until.is_none_or(|until| until <= Instant::now()) {
            return None;
        }
        let (mut any, mut regions) = (false, None::<BTreeSet<RegionName>>);
        for target in targets {
            let outage = told.outages.get(target)?;
            any = true;
            // Down everywhere it is down from whichever regions the others are.
            if !outage.everywhere {
                let common = |before: BTreeSet<RegionName>| before.intersection(&outage.regions).cloned().collect();
                regions = Some(regions.map_or_else(|| outage.regions.clone(), common));
            }
        }
        match regions {
            None => any.then_some(Word::Everywhere),
            Some(regions) => (!regions.is_empty()).then_some(Word::From(regions)),
        }
    }
}

/// `None`: a newer build has names that this one does not take.
fn read(message: &fleet::UpstreamOutage) -> Option<(TargetId, Outage)> {
    let provider = ProviderName::new(&message.provider).ok()?;
    let model = ModelName::new(&message.model).ok()?;
    let regions = message.regions.iter().filter_map(|region| RegionName::new(region).ok()).collect();
    Some((TargetId { provider, model }, Outage { everywhere: message.everywhere, regions }))
}

#[cfg(test)]
mod tests;
