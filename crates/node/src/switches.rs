//! What operators have switched off: nobody here calls it, neither requests nor probes, whatever else fails. A call that is
//! under way is left to end. A switch with a time ends by this node's own clock.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use meridian_proto::node::v1;
use meridian_routing::TargetId;
use meridian_types::RegionName;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::time::Instant;

use crate::scope::Scope;

/// Switches obeyed at once; the control plane allows as many.
const MAX_SWITCHES: usize = 64;

/// For people: why a target is not asked.
pub(crate) const WHY: &str = "switched off by an operator";

/// All that hold, in every region.
#[derive(Debug)]
pub(crate) struct Switches {
    held: ArcSwap<Held>,
}

/// What was off when it was looked.
#[derive(Debug)]
pub(crate) struct Held {
    /// Where this node is.
    own: RegionName,
    switches: Vec<Switch>,
}

#[derive(Debug)]
struct Switch {
    scope: Scope,
    /// `None`: every region.
    region: Option<String>,
    /// `None`: it holds until it is released.
    end: Option<Instant>,
}

impl Switches {
    /// Nothing is off yet for a node of the region.
    pub(crate) fn new(own: RegionName) -> Self {
        Self { held: ArcSwap::from_pointee(Held { own, switches: Vec::new() }) }
    }

    /// What is off now; costs one atomic load.
    pub(crate) fn load(&self) -> Guard<Arc<Held>> {
        self.held.load()
    }

    /// The same, to be held over an await.
    pub(crate) fn load_full(&self) -> Arc<Held> {
        self.held.load_full()
    }

    /// From now on these hold. The list is newer than every one before it.
    pub(crate) fn replace(&self, list: &v1::SwitchList) {
        let now = Instant::now();
        let before = self.held.load();
        let read = list.switches.iter().filter_map(|active| Switch::read(active, now));
        let held = Held { own: before.own.clone(), switches: read.take(MAX_SWITCHES).collect() };
        if !held.switches.is_empty() || !before.switches.is_empty() {
            let off: Vec<String> = held.switches.iter().map(Switch::text).collect();
            tracing::warn!(?off, "what operators have switched off");
        }
        self.held.store(Arc::new(held));
    }
}

/// One gauge for each that holds, under its own name: a switch that somebody forgot is seen by who watches metrics.
impl Collector for Switches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let held = self.load();
        let help = "1 for what operators have switched off: provider, model or all of them, region or all of them";
        let mut gauges = encoder.encode_descriptor("switched_off", help, None, MetricType::Gauge)?;
        for Switch { scope, region, .. } in held.switches.iter().filter(|switch| switch.holds()) {
            let region = region.as_deref().unwrap_or_default();
            let labels = [("provider", scope.provider.as_str()), ("model", scope.model.as_str()), ("region", region)];
            ConstGauge::new(1_i64).encode(gauges.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Held {
    /// Whether the target is not called by this node.
    pub(crate) fn is_off(&self, target: &TargetId) -> bool {
        self.is_off_in(target, &self.own)
    }

    /// Whether the target is not called by nodes of the region.
    pub(crate) fn is_off_in(&self, target: &TargetId, region: &RegionName) -> bool {
        self.any_in(region, |scope| scope.has(target))
    }

    /// Whether nothing of the provider is called by this node: then it is not probed either.
    pub(crate) fn is_all_off(&self, provider: &str) -> bool {
        self.any_in(&self.own, |scope| scope.has_all_of(provider))
    }

    /// Whether nothing is off anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.switches.is_empty()
    }

    fn any_in(&self, region: &RegionName, has: impl Fn(&Scope) -> bool) -> bool {
        let applies = |switch: &Switch| {
            has(&switch.scope) && switch.region.as_deref().is_none_or(|named| named == region.as_str())
        };
        self.switches.iter().any(|switch| applies(switch) && switch.holds())
    }
}

impl Switch {
    /// `None`: it names no provider.
    fn read(active: &v1::ActiveSwitch, now: Instant) -> Option<Self> {
        let scope = active.switch.as_ref()?.scope.as_ref().filter(|scope| !scope.provider.is_empty())?;
        Some(Self {
            scope: Scope { provider: scope.provider.clone(), model: scope.model.clone() },
            region: Some(scope.region.clone()).filter(|region| !region.is_empty()),
            // What lies beyond the clock's end is for ever.
            end: active.left_ms.and_then(|left| now.checked_add(Duration::from_millis(left))),
        })
    }

    /// Whether its time is not over.
    fn holds(&self) -> bool {
        self.end.is_none_or(|end| Instant::now() < end)
    }

    /// For the log.
    fn text(&self) -> String {
        let Self { scope, region, .. } = self;
        let target = [scope.provider.as_str(), scope.model.as_str()].join(":");
        let region = region.as_deref().map(|region| format!(" from {region}")).unwrap_or_default();
        format!("{}{region}", target.trim_end_matches(':'))
    }
}

#[cfg(test)]
mod tests {
    use meridian_proto::fleet::v1::{self as fleet, SwitchScope};
    use prometheus_client::registry::Registry;

    use super::*;

    fn target(name: &str) -> TargetId {
        let (provider, model) = name.split_once(':').unwrap();
        TargetId { provider: provider.parse().unwrap(), model: model.parse().unwrap() }
    }

    fn active(provider: &str, model: &str, region: &str, left_ms: Option<u64>) -> v1::ActiveSwitch {
        let [provider, model, region] = [provider, model, region].map(str::to_owned);
        let switch = fleet::Switch { scope: Some(SwitchScope { provider, model, region }), ..Default::default() };
        v1::ActiveSwitch { switch: Some(switch), left_ms }
    }

    /// As seen in `eu`.
    fn holding(switches: Vec<v1::ActiveSwitch>) -> Switches {
        let held = Switches::new("eu".parse().unwrap());
        held.replace(&v1::SwitchList { epoch: 0, revision: 1, switches });
        held
    }

    #[tokio::test(start_paused = true)]
    async fn a_switch_holds_back_what_it_names_and_nothing_else() {
        let check = |switch: v1::ActiveSwitch, off: [bool; 3], all: bool, in_us: bool| {
            let switches = holding(vec![switch]);
            let held = switches.load();
            assert_eq!(["a:x", "a:y", "b:x"].map(|name| held.is_off(&target(name))), off);
            assert_eq!((held.is_all_off("a"), held.is_off_in(&target("a:x"), &"us".parse().unwrap())), (all, in_us));
        };
        check(active("a", "", "", None), [true, true, false], true, true);
        check(active("a", "x", "", None), [true, false, false], false, true);
        check(active("a", "", "eu", None), [true, true, false], true, false);
        check(active("a", "x", "us", None), [false; 3], false, true);
        // One that names nobody would take everything out of service.
        check(active("", "", "", None), [false; 3], false, false);
        check(v1::ActiveSwitch::default(), [false; 3], false, false);
    }

    #[tokio::test(start_paused = true)]
    async fn a_switch_with_a_time_ends_by_itself_and_one_without_does_not() {
        let switches = holding(vec![active("a", "", "", Some(1000)), active("b", "", "", None)]);
        let off = || ["a:x", "b:x"].map(|name| switches.load().is_off(&target(name)));
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(off(), [true, true]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(off(), [false, true]);
        tokio::time::advance(Duration::from_secs(30 * 86400)).await;
        assert_eq!(off(), [false, true]);
        switches.replace(&v1::SwitchList::default());
        assert_eq!(off(), [false, false]);
        switches.replace(&v1::SwitchList { switches: vec![active("a", "", "", Some(u64::MAX))], ..Default::default() });
        assert_eq!(off(), [true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_switch_that_holds_is_a_gauge_of_its_own() {
        let switches = Arc::new(holding(vec![active("a", "", "", None), active("a", "x", "us", Some(1000))]));
        let mut registry = Registry::with_prefix("p");
        registry.register_collector(Box::new(Arc::clone(&switches)));
        let gauges = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        let [a, x] = [
            r#"p_switched_off{provider="a",model="",region=""} 1"#,
            r#"p_switched_off{provider="a",model="x",region="us"} 1"#,
        ];
        assert_eq!(gauges(), [a, x]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(gauges(), [a]);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_are_obeyed_as_the_control_plane_allows() {
        let switches = holding((0..100).map(|i| active(&format!("p{i}"), "", "", None)).collect());
        let off = ["p63:m", "p64:m"].map(|name| switches.load().is_off(&target(name)));
        assert_eq!(off, [true, false]);
    }
}
