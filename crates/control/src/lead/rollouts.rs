//! Carries out the head's rollout: one pin at a time, everything fenced.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_health::Now;
use meridian_proto::fleet::v1::RolloutState;
use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Revision, Txn};
use meridian_types::NodeName;

use crate::fleet::Node;
use crate::rollout::{CellId, Cells, Step, Watcher, is_under_way, is_unfinished};
use crate::shared::Shared;
use crate::store::document::{self, FORM};
use crate::view::{Rollout, View};

/// Pins written or deleted in one transaction; etcd takes 128 operations. The rest follows with the next look.
const AT_ONCE: usize = 100;
/// After a write the next look has to see it.
const OWN_WRITE_WAIT: Duration = Duration::from_secs(2);

/// What the leader remembers of the head's rollout.
#[derive(Debug, Default)]
pub(super) struct Driver {
    watcher: Option<Watcher>,
}

impl Driver {
    /// One look. A write that fails is made up for by the next look: each compares what it was decided on.
    pub(super) async fn run(
        &mut self,
        shared: &Shared,
        fence: Revision,
        view: &View,
        live: &BTreeMap<NodeName, Node>,
        now: Now,
    ) {
        let rollout = view.rollout();
        let Some(txn) = self.decide(shared, view, rollout, live, now) else { return };
        let mut txn = txn.when(Compare::create_revision(shared.layout.leader(), fence));
        if let Some(rollout) = rollout {
            txn = txn.when(Compare::mod_revision(shared.layout.rollout(view.head_id()), rollout.revision));
        }
        match shared.store.txn(txn).await {
            Ok(outcome) => shared.mirror.wait_for(outcome.revision, OWN_WRITE_WAIT).await,
            Err(error) => tracing::warn!(%error, "the rollout could not be written"),
        }
    }

    fn decide(
        &mut self,
        shared: &Shared,
        view: &View,
        rollout: Option<&Rollout>,
        live: &BTreeMap<NodeName, Node>,
        now: Now,
    ) -> Option<Txn> {
        let write = Write { shared, view, now };
        let Some(rollout) = rollout.map(|rollout| &rollout.document).filter(|held| is_unfinished(held.state())) else {
            self.watcher = None;
            return write.no_pins();
        };
        if !is_under_way(rollout.state()) {
            self.watcher = None;
            return write.pins_back(Txn::new(), rollout).filter(|txn| !txn.ops().is_empty());
        }
        let cells = Cells::of(view, live);
        let watcher = self.watcher.take().filter(|watcher| watcher.commit() == rollout.commit);
        let watcher = self.watcher.insert(watcher.unwrap_or_else(|| Watcher::new(rollout.commit)));
        let bake = Duration::from_millis(u64::from(rollout.bake_ms));
        let has_it = |cell: &CellId| view.has_head(cell);
        match watcher.step(rollout.state(), &cells, has_it, bake, now.monotonic) {
            Step::Wait => None,
            Step::Pin(cell, why) => {
                tracing::info!(commit = rollout.commit, %cell, why, "rollout: the next cell");
                let changed = write.changed(rollout, rollout.state(), format!("{cell} runs it now: {why}"));
                Some(write.pin(Txn::new(), &cell, rollout.commit, why).put(write.key(), document::write(&changed)))
            }
            Step::Finish(why) => {
                tracing::info!(commit = rollout.commit, why, "rollout done");
                let done = write.changed(rollout, RolloutState::Done, why);
                Some(Txn::new().put(write.key(), document::write(&done)))
            }
            Step::Back(why) => {
                tracing::error!(commit = rollout.commit, from = rollout.from, why, "rollout failed and is taken back");
                let back = write.changed(rollout, RolloutState::RolledBack, why);
                write.pins_back(Txn::new().put(write.key(), document::write(&back)), &back)
            }
        }
    }
}

/// Makes the transactions.
struct Write<'a> {
    shared: &'a Shared,
    view: &'a View,
    now: Now,
}

impl Write<'_> {
    fn key(&self) -> String {
        self.shared.layout.rollout(self.view.head_id())
    }

    fn changed(&self, rollout: &stored::Rollout, state: RolloutState, reason: String) -> stored::Rollout {
        stored::Rollout { state: state.into(), reason, changed_at_unix_ms: self.now.unix_ms, ..rollout.clone() }
    }

    fn pin(&self, txn: Txn, cell: &CellId, commit: u64, reason: String) -> Txn {
        let pin = stored::Pin {
            form: FORM,
            region: cell.region.to_string(),
            cell: cell.cell.to_string(),
            commit,
            rollout: self.view.head_id().0,
            reason,
            made_at_unix_ms: self.now.unix_ms,
        };
        txn.put(self.shared.layout.pin(cell), document::write(&pin))
    }

    /// Every pin that names the commit names the one before.
    fn pins_back(&self, txn: Txn, rollout: &stored::Rollout) -> Option<Txn> {
        let named = self.view.pins.iter().filter(|(_, pin)| pin.document.commit == rollout.commit);
        let back = |txn, (cell, _)| self.pin(txn, cell, rollout.from, rollout.reason.clone());
        Some(named.take(AT_ONCE).fold(txn, back))
    }

    /// Without a rollout every cell runs the head, and pins would only confuse.
    fn no_pins(&self) -> Option<Txn> {
        let pins = self.view.pins.keys().take(AT_ONCE);
        let txn = pins.fold(Txn::new(), |txn, cell| txn.delete(self.shared.layout.pin(cell)));
        (!txn.ops().is_empty()).then_some(txn)
    }
}
