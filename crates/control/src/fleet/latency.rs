//! Times to first content of all nodes of a region together: of their last reports, and of the last minute by target.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_proto::convert;
use meridian_proto::node::v1::{LatencySketch as Wire, Report};
use meridian_types::{LastMinute, LatencySketch, RegionName};

/// Targets of one region that are told apart: far more than a configuration names, and 3.5 MB.
const MAX_TARGETS: usize = 1024;

/// Provider and model.
pub(crate) type TargetId = (String, String);

/// What one report says.
#[derive(Debug, Default)]
pub(super) struct Reported {
    pub(super) requests: LatencySketch,
    /// Of streams, by the target that began them.
    targets: Vec<(TargetId, LatencySketch)>,
}

impl Reported {
    /// Takes the sketches out of a report: it is kept and shown without them.
    pub(super) fn take(report: &mut Report) -> Self {
        let requests = read(report.first_tokens.take()).unwrap_or_else(|| before_sketches(report));
        let target = |target: &mut meridian_proto::node::v1::TargetReport| {
            let sketch = read(target.first_tokens.take())?;
            Some(((target.provider.clone(), target.model.clone()), sketch))
        };
        Self { requests, targets: report.targets.iter_mut().filter_map(target).collect() }
    }
}

/// One that cannot be read is as good as none.
fn read(sketch: Option<Wire>) -> Option<LatencySketch> {
    let read = convert::latencies(&sketch?);
    read.inspect_err(|error| tracing::debug!(error, "latency sketch passed over")).ok()
}

/// An older build says two quantiles of its requests: a sketch that has the same two.
fn before_sketches(report: &Report) -> LatencySketch {
    let mut sketch = LatencySketch::default();
    if report.first_token_p50_ms > 0.0 {
        let requests = u32::try_from(report.requests_finished).unwrap_or(u32::MAX).max(1);
        // So many have to be at the upper one for the 0.99-quantile to be there.
        let late = requests / 100 + 1;
        sketch.add_ms(report.first_token_p50_ms, requests - late);
        sketch.add_ms(report.first_token_p99_ms.max(report.first_token_p50_ms), late);
    }
    sketch
}

/// The last minute. Memory is bounded by regions and targets, however many nodes there are.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    regions: BTreeMap<RegionName, Region>,
}

#[derive(Debug, Default)]
struct Region {
    requests: LastMinute,
    targets: BTreeMap<TargetId, LastMinute>,
}

impl Latencies {
    /// Adds what a node of this region reported. `now` is monotonic.
    pub(super) fn add(&mut self, region: &RegionName, reported: Reported, now: Duration) {
        let region = self.regions.entry(region.clone()).or_default();
        region.requests.merge(&reported.requests, now);
        for (id, sketch) in reported.targets {
            if region.targets.len() < MAX_TARGETS || region.targets.contains_key(&id) {
                region.targets.entry(id).or_default().merge(&sketch, now);
            }
        }
    }

    /// Forgets targets and regions that nobody has spoken of for a minute.
    pub(super) fn forget(&mut self, now: Duration) {
        let holds = |minute: &LastMinute| minute.sketch(now).count() > 0;
        self.regions.retain(|_, region| {
            region.targets.retain(|_, minute| holds(minute));
            holds(&region.requests) || !region.targets.is_empty()
        });
    }

    /// All requests of a region.
    pub(super) fn requests(&self, region: &RegionName, now: Duration) -> LatencySketch {
        self.regions.get(region).map(|region| region.requests.sketch(now)).unwrap_or_default()
    }

    /// The streams of each target of this provider, or of this one of its targets, by region.
    pub(super) fn targets(
        &self,
        provider: &str,
        model: Option<&str>,
        now: Duration,
    ) -> BTreeMap<TargetId, BTreeMap<RegionName, LatencySketch>> {
        let mut found: BTreeMap<TargetId, BTreeMap<RegionName, LatencySketch>> = BTreeMap::new();
        for (name, region) in &self.regions {
            let asked_for = |id: &TargetId| id.0 == provider && model.is_none_or(|model| id.1 == model);
            for (id, minute) in region.targets.iter().filter(|(id, _)| asked_for(id)) {
                let sketch = minute.sketch(now);
                if sketch.count() > 0 {
                    found.entry(id.clone()).or_default().insert(name.clone(), sketch);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use meridian_proto::node::v1::TargetReport;

    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn sketch(samples: &[(f64, u32)]) -> LatencySketch {
        let mut sketch = LatencySketch::default();
        for (ms, times) in samples {
            sketch.add_ms(*ms, *times);
        }
        sketch
    }

    fn report(samples: &[(f64, u32)], targets: &[&str]) -> Report {
        let first_tokens = convert::latencies_to_wire(&sketch(samples));
        let target = |id: &&str| TargetReport {
            provider: (*id).to_owned(),
            model: "m".to_owned(),
            first_tokens: first_tokens.clone(),
            ..TargetReport::default()
        };
        Report {
            first_tokens: first_tokens.clone(),
            targets: targets.iter().map(target).collect(),
            ..Report::default()
        }
    }

    fn near(told: Option<f64>, truth: f64) -> bool {
        told.is_some_and(|ms| (ms - truth).abs() <= truth * LatencySketch::RELATIVE_ERROR)
    }

    #[test]
    fn what_nodes_report_adds_up_by_region_and_target_and_is_forgotten() {
        let (eu, us) = (RegionName::new("eu").unwrap(), RegionName::new("us").unwrap());
        let mut latencies = Latencies::default();
        for (region, samples) in [(&eu, (100.0, 30)), (&eu, (900.0, 10)), (&us, (2000.0, 60))] {
            let mut report = report(&[samples], &["a", "b"]);
            latencies.add(region, Reported::take(&mut report), NOW);
            assert_eq!(report.first_tokens, None, "it is not kept twice");
            assert!(report.targets.iter().all(|target| target.first_tokens.is_none()));
        }
        assert_eq!(latencies.requests(&eu, NOW), sketch(&[(100.0, 30), (900.0, 10)]));
        let found = latencies.targets("a", None, NOW);
        let told = &found[&("a".to_owned(), "m".to_owned())];
        assert_eq!((found.len(), told[&eu].count(), told[&us].count()), (1, 40, 60));
        assert!(near(told[&eu].quantile_ms(0.5), 100.0) && near(told[&eu].quantile_ms(0.99), 900.0));
        assert!(latencies.targets("a", Some("other"), NOW).is_empty());
        assert!(latencies.targets("a", Some("m"), NOW + Duration::from_secs(60)).is_empty());
        latencies.forget(NOW + Duration::from_secs(60));
        assert!(latencies.regions.is_empty());
    }

    #[test]
    fn targets_without_end_are_not_remembered() {
        let mut latencies = Latencies::default();
        let names: Vec<_> = (0..MAX_TARGETS + 50).map(|number| number.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let eu = RegionName::new("eu").unwrap();
        latencies.add(&eu, Reported::take(&mut report(&[(1.0, 1)], &names)), NOW);
        latencies.add(&eu, Reported::take(&mut report(&[(1.0, 1)], &["0", "one more"])), NOW);
        assert_eq!(latencies.regions[&eu].targets.len(), MAX_TARGETS);
        assert_eq!(latencies.targets("0", None, NOW).len(), 1);
    }

    #[test]
    fn without_a_sketch_that_can_be_read_the_quantiles_of_older_builds_count() {
        let too_long = Wire { offset: 139, counts: vec![1; 2] };
        for first_tokens in [None, Some(too_long)] {
            for requests_finished in [0, 1, 2, 99, 100, 101, 5000, u64::MAX] {
                let (first_token_p50_ms, first_token_p99_ms) = (200.0, 3000.0);
                let mut report = Report {
                    requests_finished,
                    first_token_p50_ms,
                    first_token_p99_ms,
                    first_tokens: first_tokens.clone(),
                    ..Report::default()
                };
                let told = Reported::take(&mut report).requests;
                assert_eq!(told.count(), requests_finished.clamp(1, u32::MAX.into()));
                assert!(near(told.quantile_ms(0.99), 3000.0), "{requests_finished}");
                assert!(requests_finished < 2 || near(told.quantile_ms(0.5), 200.0), "{requests_finished}");
                report.first_token_p50_ms = 0.0;
                assert_eq!(Reported::take(&mut report).requests.count(), 0, "it had no sample");
            }
        }
    }
}
