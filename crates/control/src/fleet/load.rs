//! Demand and latency of a region, from what its nodes report.

use std::time::Duration;

use meridian_types::LatencySketch;

use super::Node;

/// A report older than this says nothing about now.
const REPORT_LIFE: Duration = Duration::from_secs(3);
/// Demand is believed nearly at once when it rises ...
const RISE: Duration = Duration::from_millis(500);
/// ... and slowly when it falls: load comes in waves.
const FALL: Duration = Duration::from_secs(10);
/// Latency is an average over this time, or longer ...
const LATENCY: Duration = Duration::from_secs(1);
/// ... until it is one of so many requests: prompts differ by far more than regions do, and the median of a few requests
/// may be twice that of the next few.
const LATENCY_REQUESTS: f64 = 20.0;
/// Without requests the last latency is remembered for this long.
const LATENCY_LIFE: Duration = Duration::from_secs(30);

/// What the nodes of a region report now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct RegionLoad {
    /// Requests held now.
    pub(crate) in_flight: u32,
    /// Requests in flight that clients offer: admitted, and shed times how long each would have stayed. `None`: no
    /// node says anything.
    pub(crate) offered: Option<f64>,
    /// Median time to the first token of all requests of all nodes. `None`: no node had one.
    pub(crate) first_token_ms: Option<f64>,
    /// The 0.99-quantile of the same.
    pub(crate) first_token_p99_ms: Option<f64>,
    /// How many requests these are of ...
    pub(crate) first_tokens: u64,
    /// ... and how many a second.
    pub(crate) first_tokens_per_s: f64,
}

impl RegionLoad {
    pub(crate) fn of<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        let mut load = Self::default();
        let mut first_tokens = LatencySketch::default();
        for node in nodes.into_iter().filter(|node| node.serves() && node.is_connected()) {
            load.in_flight = load.in_flight.saturating_add(node.in_flight);
            let mut offered = f64::from(node.in_flight);
            if let Some(report) = node.recent_report(REPORT_LIFE) {
                // Little's law: what was shed would have stayed for the mean duration.
                let window_ms = f64::from(report.window_ms.max(1));
                offered += report.requests_shed as f64 / window_ms * report.mean_duration_ms;
                first_tokens.merge(node.first_tokens());
                load.first_tokens_per_s += node.first_tokens().count() as f64 / window_ms * 1000.0;
            }
            load.offered = Some(load.offered.unwrap_or(0.0) + offered);
        }
        load.first_token_ms = first_tokens.quantile_ms(0.5);
        load.first_token_p99_ms = first_tokens.quantile_ms(0.99);
        load.first_tokens = first_tokens.count();
        load
    }
}

/// Load over time, as the planner wants it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Smoothed {
    pub(crate) demand: Option<f64>,
    latency_ms: f64,
    /// Requests that the latency is an average of.
    latency_of: f64,
    latency_at: Duration,
    at: Duration,
}

impl Smoothed {
    /// As if this had been reported for long.
    pub(crate) fn of(load: RegionLoad) -> Self {
        let latency_of = if load.first_token_ms.is_some() { LATENCY_REQUESTS } else { 0.0 };
        let latency_ms = load.first_token_ms.unwrap_or_default();
        Self { demand: load.offered, latency_ms, latency_of, ..Self::default() }
    }

    /// Takes what is reported at `now` (monotonic).
    pub(crate) fn update(&mut self, load: RegionLoad, now: Duration) {
        let past = now.saturating_sub(self.at);
        self.at = now;
        if let Some(offered) = load.offered {
            let held = self.demand.unwrap_or(offered);
            let time = if offered > held { RISE } else { FALL };
            self.demand = Some(held + (offered - held) * part(past, time));
        }
        match load.first_token_ms {
            Some(seen) => {
                let new = load.first_tokens_per_s * past.min(REPORT_LIFE).as_secs_f64();
                let most = (load.first_tokens_per_s * LATENCY.as_secs_f64()).max(LATENCY_REQUESTS);
                self.latency_of = (self.latency_of + new).min(most);
                self.latency_ms += (seen - self.latency_ms) * (new / self.latency_of.max(f64::MIN_POSITIVE)).min(1.0);
                self.latency_at = now;
            }
            None if now.saturating_sub(self.latency_at) > LATENCY_LIFE => self.latency_of = 0.0,
            None => {}
        }
    }

    /// Time to the first token; `None`: too few requests have had one.
    pub(crate) fn first_token_ms(&self) -> Option<f64> {
        (self.latency_of >= LATENCY_REQUESTS).then_some(self.latency_ms)
    }
}

/// How much of the way an exponential average with this time constant goes.
fn part(past: Duration, time: Duration) -> f64 {
    1.0 - (-past.as_secs_f64() / time.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_rises_fast_and_falls_slowly() {
        let at = Duration::from_millis;
        let load = |offered| RegionLoad { offered: Some(offered), ..RegionLoad::default() };
        let mut smoothed = Smoothed::default();
        smoothed.update(load(10.0), at(0));
        assert_eq!(smoothed.demand, Some(10.0));
        smoothed.update(load(100.0), at(1000));
        assert!(smoothed.demand.unwrap() > 80.0);
        smoothed.update(load(0.0), at(2000));
        assert!(smoothed.demand.unwrap() > 70.0);
        smoothed.update(load(0.0), at(29_000));
        assert!(smoothed.demand.unwrap() < 10.0);
        smoothed.update(RegionLoad::default(), at(31_000));
        // Nobody reporting is not the same as no demand.
        assert!(smoothed.demand.is_some());
    }

    /// The latency after `seconds` of reports about so many requests a second, every quarter of a second another one.
    fn latency(smoothed: &mut Smoothed, seconds: f64, per_s: f64, medians_ms: &[f64]) -> Option<f64> {
        let quarter = Duration::from_millis(250);
        let reports = (seconds * 4.0) as usize;
        for median in medians_ms.iter().cycle().take(reports) {
            let load = RegionLoad { first_token_ms: Some(*median), first_tokens_per_s: per_s, ..RegionLoad::default() };
            smoothed.update(load, smoothed.at + quarter);
        }
        smoothed.first_token_ms()
    }

    #[test]
    fn latency_of_many_requests_follows_within_a_second_or_two() {
        let mut smoothed = Smoothed::default();
        assert!(latency(&mut smoothed, 1.0, 100.0, &[100.0]).is_some_and(|ms| (ms - 100.0).abs() < 1e-6));
        assert!(latency(&mut smoothed, 2.0, 100.0, &[500.0]) > Some(400.0));
    }

    #[test]
    fn latency_of_few_requests_is_no_news_until_enough_of_them_say_the_same() {
        let mut smoothed = Smoothed::default();
        assert_eq!(latency(&mut smoothed, 3.0, 5.0, &[900.0]), None, "fifteen are too few");
        // Four that are quick for each that is slow: no single report moves it far.
        let settled = latency(&mut smoothed, 30.0, 5.0, &[100.0, 100.0, 100.0, 100.0, 900.0]).unwrap();
        assert!((200.0..320.0).contains(&settled), "{settled}");
        assert!(latency(&mut smoothed, 6.0, 5.0, &[900.0]) > Some(600.0), "all of them slow is news");
    }

    #[test]
    fn latency_is_forgotten_without_requests() {
        let mut smoothed = Smoothed::default();
        latency(&mut smoothed, 5.0, 100.0, &[100.0]);
        smoothed.update(RegionLoad::default(), smoothed.at + LATENCY_LIFE);
        assert_eq!(smoothed.first_token_ms(), Some(100.0));
        smoothed.update(RegionLoad::default(), smoothed.at + Duration::from_secs(1));
        assert_eq!(smoothed.first_token_ms(), None);
    }
}
