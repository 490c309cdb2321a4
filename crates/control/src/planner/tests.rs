//! Tests of the planner; `scripts` are golden stories, `properties` hold for random fleets.

mod promises;
mod properties;
mod residency;
mod scripts;
mod settled;

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_health::Now;
use meridian_types::{CommitId, Coordinates, Plan, RegionName, RegionState};

use super::{Inputs, Memory, RegionInput, Rehearsed, Supposition, check, next, rehearse};

fn region(text: &str) -> RegionName {
    RegionName::new(text).unwrap()
}

/// A planner that is asked every 200 ms.
struct Fleet {
    inputs: Inputs,
    memory: Memory,
    plan: Option<Plan>,
    plans: usize,
}

impl Fleet {
    /// Three regions of capacity 100: `us` and `eu` are nearest to each other, `ap` is nearer to `us`.
    fn new() -> Self {
        let place = |name: &str, latitude: f64, longitude: f64| {
            let input = RegionInput {
                coordinates: Coordinates::new(latitude, longitude).unwrap(),
                jurisdiction: name.to_uppercase().parse().unwrap(),
                overflow: Vec::new(),
                weight: 100,
                state: RegionState::Serving,
                stops: false,
                reason: "declared weight 100".to_owned(),
                addresses: vec![format!("192.0.2.{}", name.len()).parse().unwrap()],
                capacity: 100,
                demand: Some(10.0),
                first_token_ms: Some(100.0),
            };
            (region(name), input)
        };
        let regions = [place("us", 37.0, -122.0), place("eu", 53.0, -6.0), place("ap", 1.0, 104.0)];
        let inputs = Inputs {
            epoch: 0,
            commit: CommitId(1),
            replica: "cp-1".to_owned(),
            now: Now { monotonic: Duration::from_secs(100), unix_ms: 1_700_000_000_000 },
            regions: BTreeMap::from(regions),
        };
        let mut fleet = Self { memory: Memory::resume(None, &inputs), inputs, plan: None, plans: 0 };
        fleet.run(Duration::from_millis(200));
        fleet
    }

    fn set(&mut self, name: &str, change: impl FnOnce(&mut RegionInput)) {
        change(self.inputs.regions.get_mut(name).unwrap());
    }

    fn state(&mut self, name: &str, state: RegionState) {
        self.set(name, |region| {
            region.state = state;
            region.reason = state.as_str().to_owned();
        });
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        let tick = Duration::from_millis(200);
        for _ in 0..time.as_millis().div_ceil(tick.as_millis()) {
            self.inputs.now.monotonic += tick;
            self.inputs.now.unix_ms += 200;
            if let Some(plan) = next(&self.inputs, self.plan.as_ref(), &mut self.memory) {
                assert_eq!(check::broken(&self.inputs, self.memory.origins(), &plan), None, "{plan:#?}");
                assert!(self.plan.as_ref().is_none_or(|before| before.id < plan.id));
                self.plan = Some(plan);
                self.plans += 1;
            }
        }
    }

    fn plan(&self) -> &Plan {
        self.plan.as_ref().unwrap()
    }

    /// Weights of ap, eu, us.
    fn weights(&self) -> Vec<u32> {
        self.plan().regions.values().map(|region| region.weight).collect()
    }

    fn targets(&self) -> Vec<u32> {
        self.plan().regions.values().map(|region| region.target_weight).collect()
    }

    fn reason(&self, name: &str) -> &str {
        &self.plan().regions[name].reason
    }

    fn placement(&self, name: &str) -> Vec<(&str, u32)> {
        self.plan().regions[name].placement.iter().map(|(name, share)| (name.as_str(), *share)).collect()
    }
}
