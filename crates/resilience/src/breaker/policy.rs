//! The numbers of a breaker.

use std::time::Duration;

/// When a breaker opens, and how it comes back.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Failures in a row that open it. One may be the request's bad luck; three at a busy node are over in 100 ms.
    pub consecutive: u32,
    /// Share of failures in the window that opens it: above it, asking costs more failovers than it serves.
    pub ratio: f64,
    /// The window of that share.
    pub window: Duration,
    /// Attempts in the window below which a share means nothing.
    pub volume: u32,
    /// The first cool-down.
    pub cool_down: Duration,
    /// The longest one: what a recovered provider may stay unused.
    pub max_cool_down: Duration,
    /// The longest time for which failing probes alone keep requests away.
    pub longest_unseen: Duration,
    /// Closed for this long, cool-downs begin anew: less, and a provider that flaps never gets a longer one.
    pub forget: Duration,
    /// The first rest under pressure, if the upstream names none; further ones double, up to the longest cool-down.
    pub rest: Duration,
    /// The longest rest that an upstream may ask for: its word is not worth more than a look once a minute.
    pub max_rest: Duration,
    /// Probes let through at once while half-open.
    pub probes: u32,
    /// Good probes that close it.
    pub successes: u32,
    /// After it closed, the share of traffic grows to all of it within this time.
    pub ramp: Duration,
    /// The share at the start.
    pub first_share: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            consecutive: 3,
            ratio: 0.5,
            window: Duration::from_secs(30),
            volume: 20,
            cool_down: Duration::from_secs(1),
            // With the ramp and two probes a recovered target has its traffic again within half a minute.
            max_cool_down: Duration::from_secs(15),
            // A provider may serve and yet not know the path that probes ask for.
            longest_unseen: Duration::from_secs(60),
            forget: Duration::from_secs(60),
            rest: Duration::from_secs(1),
            max_rest: Duration::from_secs(60),
            probes: 1,
            successes: 2,
            ramp: Duration::from_secs(5),
            first_share: 0.1,
        }
    }
}
