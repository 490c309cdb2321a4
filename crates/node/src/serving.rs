//! What the control plane's lanes feed and ask.

use std::sync::Arc;

use async_trait::async_trait;
use meridian_control_client::{Peer, Published, Serving, Vitals};
use meridian_proto::accounts::Accounts;
use meridian_proto::node::v1;
use meridian_types::{Mistake, Plan};

use crate::node::Node;
use crate::report;
use crate::snapshot::Snapshot;

#[async_trait]
impl Serving for Node {
    fn apply(&self, published: Arc<Published>) -> Result<(), Vec<Mistake>> {
        let previous = self.snapshot.load_full();
        let snapshot =
            Snapshot::compile(Arc::clone(&published), previous.as_deref(), &self.transport, self.now_unix_ms())?;
        self.snapshot.store(Some(Arc::new(snapshot)));
        self.applied.notify_one();
        if let Some(dns) = &self.dns {
            dns.update(published.commit, Arc::clone(&published.configuration), self.plan.load_full());
        }
        tracing::info!(commit = %published.commit, source = ?published.source, "configuration applied");
        Ok(())
    }

    fn accounts(&self, accounts: Arc<Accounts>) {
        self.accounts.store(accounts);
    }

    fn plan(&self, plan: Arc<Plan>) {
        self.plan.store(Some(Arc::clone(&plan)));
        let drained = self.is_drained();
        if self.drained.send_replace(drained) != drained {
            tracing::info!(region = %self.region, drained, "clients are sent elsewhere, or are taken again");
        }
        if let Some(dns) = &self.dns {
            dns.set_plan(plan);
        }
    }

    fn peers(&self, peers: Arc<[Peer]>) {
        self.spill.replace(&peers);
        self.peers.replace(peers);
    }

    fn faults(&self, faults: &v1::FaultList) {
        self.faults.replace(faults, &self.region);
    }

    fn switches(&self, switches: &v1::SwitchList) {
        self.switches.replace(switches);
    }

    fn outages(&self, list: &v1::OutageList) {
        let Some((elsewhere, until)) = self.outages.replace(list, &self.region) else { return };
        for (id, target) in self.snapshot.load().iter().flat_map(|snapshot| &snapshot.targets) {
            target.state().warn(elsewhere.contains(id).then_some(until));
        }
    }

    fn look(&self) {
        self.peers.hurry();
    }

    fn vitals(&self) -> Vitals {
        report::vitals(self)
    }

    fn report(&self) -> v1::Report {
        report::report(self)
    }

    async fn answer(&self, query: v1::Query) -> v1::Reply {
        use v1::query::Question;
        use v1::reply::Answer;
        let answer = match (query.question, &self.dns) {
            (Some(Question::ExplainDns(question)), Some(dns)) => {
                Answer::Explanation(v1::Explanation { lines: dns.explain(&question.name, &question.from) })
            }
            (Some(Question::FindRequest(question)), _) => {
                let (id, node, region) = (&question.request_id, self.name.as_str(), self.region.as_str());
                Answer::FoundRequest(self.recent.find(id, node, region))
            }
            (Some(Question::ExplainDns(_)), None) => Answer::Error(format!("{} does not answer DNS", self.name)),
            (None, _) => Answer::Error("this build does not know the question".to_owned()),
        };
        v1::Reply { id: query.id, answer: Some(answer) }
    }
}
