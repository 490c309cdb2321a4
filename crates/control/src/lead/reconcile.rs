//! The leader's loop: look at the evidence, judge, plan, write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use meridian_health::{Now, Verdicts, judge};
use meridian_proto::fleet::v1 as wire;
use meridian_store::{Compare, Error, Revision, Txn};
use meridian_types::{Plan, RegionName};
use tokio::time::Instant;

use super::summaries::{self, Summaries};
use super::upstreams::Upstreams;
use super::{evidence, housekeeping, regions, rollouts, sweep};
use crate::fleet::{RegionLoad, Smoothed};
use crate::planner::{self, Broken, Inputs, Memory};
use crate::shared::Shared;
use crate::store::document;
use crate::view::View;

/// The loop looks this often by itself, because silence makes no event ...
const TICK: Duration = Duration::from_millis(200);
/// ... and this long after news, so that what comes together is judged together.
const GATHER: Duration = Duration::from_millis(20);
/// A new leader first sees everything that was written before it was elected.
const CATCH_UP: Duration = Duration::from_secs(3);
/// A leader that cannot follow the store for so long gives its seat back, though its lease renews: it plans nothing, and another
/// replica may see. A watch that broke is up again after a rest of 2 s and a list, which take less.
const BLIND: Duration = Duration::from_secs(5);

/// Runs one term; says why it is over.
pub(super) async fn run(shared: &Arc<Shared>, fence: Revision) -> &'static str {
    shared.mirror.wait_for(fence, CATCH_UP).await;
    if shared.mirror.view().revision < fence {
        return "the mirror is behind";
    }
    let (mut news, mut views) = (shared.fleet.subscribe(), shared.mirror.subscribe());
    let mut reconciler = Reconciler::new(shared, fence);
    loop {
        if let Err(why) = reconciler.tick().await {
            return why;
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            _ = news.changed() => tokio::time::sleep(GATHER).await,
            _ = views.changed() => tokio::time::sleep(GATHER).await,
        }
    }
}

struct Reconciler<'a> {
    shared: &'a Arc<Shared>,
    fence: Revision,
    origin: Instant,
    /// Since when the store cannot be followed.
    blind: Option<Instant>,
    verdicts: Verdicts,
    loads: BTreeMap<RegionName, Smoothed>,
    memory: Option<Memory>,
    /// The last plan with the revision of its key.
    plan: Option<(Arc<Plan>, Revision)>,
    /// Why the last plan that was made was not published.
    refused: Option<Broken>,
    summaries: Summaries,
    upstreams: Upstreams,
    rollouts: rollouts::Driver,
    housekeeping: housekeeping::Due,
}

impl<'a> Reconciler<'a> {
    fn new(shared: &'a Arc<Shared>, fence: Revision) -> Self {
        let view = shared.mirror.view();
        Self {
            shared,
            fence,
            origin: Instant::now(),
            blind: None,
            verdicts: evidence::stored(&view),
            loads: BTreeMap::new(),
            memory: None,
            plan: view.plan.as_ref().map(|published| (published.plan.clone(), published.revision)),
            refused: None,
            summaries: Summaries::resume(&view.summaries),
            upstreams: Upstreams::resume(&view.summaries),
            rollouts: rollouts::Driver::default(),
            housekeeping: housekeeping::Due::default(),
        }
    }

    /// One look. An error ends the term.
    async fn tick(&mut self) -> Result<(), &'static str> {
        let view = self.shared.mirror.view();
        if view.leader.as_ref().is_some_and(|leader| leader.created > self.fence) {
            return Err("another replica was elected");
        }
        // With the store lost nothing may be planned ...
        if self.shared.mirror.status.read_only().is_some() {
            let since = *self.blind.get_or_insert_with(Instant::now);
            return if since.elapsed() < BLIND { Ok(()) } else { Err("the store could not be followed for too long") };
        }
        self.blind = None;
        // ... and without a configuration there is nothing to plan.
        if view.head.is_none() {
            return Ok(());
        }
        let now = Now { monotonic: self.origin.elapsed(), unix_ms: self.shared.now_unix_ms() };
        let live = self.shared.fleet.nodes();
        let evidence = evidence::gather(&view, &self.shared.fleet, &live);
        self.verdicts = judge(&self.verdicts, &evidence, now);
        self.shout();
        let (inputs, due) = self.inputs(&view, &live, now);
        let next = self.next_plan(&inputs);
        let gone = view.summaries.keys().filter(|name| !inputs.regions.contains_key(*name)).cloned().collect();
        self.publish(next, due, gone, now).await?;
        sweep::run(self.shared, self.fence, &view).await;
        self.rollouts.run(self.shared, self.fence, &view, &live, now).await;
        self.housekeeping.run(self.shared, self.fence, &view, now.monotonic).await;
        Ok(())
    }

    /// The plan to publish, if any. One that would break a promise is not: the one before is told to stay, once.
    fn next_plan(&mut self, inputs: &Inputs) -> Option<Plan> {
        let previous = self.plan.as_ref().map(|(plan, _)| &**plan);
        let memory = self.memory.get_or_insert_with(|| Memory::resume(previous, inputs));
        let next = (self.shared.planner)(inputs, previous, memory)?;
        let Some(broken) = planner::objection(inputs, memory.origins(), previous, &next) else {
            self.refused = None;
            return Some(next);
        };
        // What led there may be the planner's memory: it begins anew with the plan that stays.
        self.memory = None;
        if self.refused.as_ref() == Some(&broken) {
            return None;
        }
        self.shared.metrics.refused_plans.inc();
        tracing::error!(%broken, "the planner's next plan would break a promise; it is not published");
        let again = previous.map(|previous| planner::again(inputs, previous, &broken));
        self.refused = Some(broken);
        again
    }

    /// Tells a person that the brake holds, and that it does so no longer.
    fn shout(&self) {
        let braked: Vec<_> = self.verdicts.iter().filter(|(_, held)| held.braked).collect();
        let before = self.shared.metrics.braked.set(i64::try_from(braked.len()).unwrap_or(i64::MAX));
        match (before, braked.first()) {
            (0, Some((node, held))) => {
                let evidence = &held.evidence;
                tracing::error!(%node, nodes = braked.len(), evidence, "mass failure that nobody else sees: weights are frozen");
            }
            (1.., None) => tracing::info!("the brake on a mass failure is released"),
            _ => {}
        }
    }

    fn inputs(
        &mut self,
        view: &View,
        live: &BTreeMap<meridian_types::NodeName, crate::fleet::Node>,
        now: Now,
    ) -> (Inputs, Vec<(RegionName, wire::RegionSummary)>) {
        let mut inputs = Inputs {
            epoch: view.epoch,
            commit: view.head_id(),
            replica: self.shared.replica.clone(),
            now,
            regions: BTreeMap::new(),
        };
        let mut due = Vec::new();
        for (name, region) in view.head.iter().flat_map(|head| &head.configuration.regions) {
            let load = self.loads.entry(name.clone()).or_default();
            load.update(RegionLoad::of(live.values().filter(|node| node.region == *name)), now.monotonic);
            let members = regions::members(view, live, &self.verdicts, name);
            let input = regions::input(region, &members, view.overridden(name, now.unix_ms), load);
            let found = self.upstreams.judge(name, summaries::reports(&members, live), now);
            let summary = self.summaries.due(name, &input, &members, live, found, now);
            due.extend(summary.map(|summary| (name.clone(), summary)));
            inputs.regions.insert(name.clone(), input);
        }
        self.loads.retain(|name, _| inputs.regions.contains_key(name));
        self.upstreams.retain(|name| inputs.regions.contains_key(name));
        (inputs, due)
    }

    /// Writes what there is to write in one fenced transaction.
    async fn publish(
        &mut self,
        plan: Option<Plan>,
        summaries: Vec<(RegionName, wire::RegionSummary)>,
        gone: Vec<RegionName>,
        now: Now,
    ) -> Result<(), &'static str> {
        if plan.is_none() && summaries.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let layout = &self.shared.layout;
        let mut txn = Txn::new().when(Compare::create_revision(layout.leader(), self.fence));
        if let Some(plan) = &plan {
            let seen = self.plan.as_ref().map_or(Revision::ZERO, |(_, revision)| *revision);
            let message = wire::Plan::from(plan);
            txn = txn.when(Compare::mod_revision(layout.plan(), seen)).put(layout.plan(), document::write(&message));
        }
        for (name, summary) in &summaries {
            txn = txn.put(layout.summary(name), document::write(summary));
        }
        for name in &gone {
            txn = txn.delete(layout.summary(name));
        }
        match self.shared.store.txn(txn).await {
            Ok(outcome) if outcome.succeeded => {
                self.summaries.written(summaries, now);
                if let Some(plan) = plan {
                    self.shared.metrics.plans.inc();
                    tracing::info!(plan = %plan.id, reason = %plan.reason, "plan published");
                    self.plan = Some((Arc::new(plan), outcome.revision));
                }
                Ok(())
            }
            Ok(_) => {
                self.shared.metrics.fenced.inc();
                Err("its write was fenced off")
            }
            // What became of it shows when the next term reads the store.
            Err(Error::OutcomeUnknown { .. }) => Err("the outcome of a write is unknown"),
            Err(error) => {
                tracing::warn!(%error, "the plan could not be written; the last one holds");
                // The mirror notices the outage by itself; until then do not hammer the store.
                tokio::time::sleep(TICK).await;
                Ok(())
            }
        }
    }
}
