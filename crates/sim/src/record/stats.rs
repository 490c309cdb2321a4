//! Counters: all requests, and by model and client.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Outcome, client_key};

/// Distinct models, or clients, that are counted apart; further ones are counted under `other`.
const MAX_KEYS: usize = 1024;

/// What `GET /sim/stats` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stats {
    /// Connections.
    pub connections: Connections,
    /// All requests to the providers' paths.
    pub requests: Counts,
    /// Those with a body that named a model.
    pub by_model: BTreeMap<String, Counts>,
    /// By the caller's address.
    pub by_client: BTreeMap<String, Counts>,
}

/// Connections by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Connections {
    /// Accepted so far, refused ones included.
    pub accepted: u64,
    /// Reset at accept by a fault.
    pub refused: u64,
    /// Open now.
    pub open: u64,
}

/// Requests by outcome. `total` is the sum of the others but `faulty`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counts {
    /// Received.
    pub total: u64,
    /// Without an end yet.
    pub in_flight: u64,
    /// Answered to the end, error answers included.
    pub completed: u64,
    /// The client left before the end.
    pub cancelled: u64,
    /// Broken off by a fault.
    pub broken: u64,
    /// Those to which any fault applied, whatever their outcome.
    pub faulty: u64,
}

impl Counts {
    fn begin(&mut self) {
        self.total += 1;
        self.in_flight += 1;
    }

    fn end(&mut self, outcome: Outcome) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Broken => self.broken += 1,
            Outcome::InFlight => {}
        }
    }
}

impl Stats {
    pub(super) fn request(&mut self, client: IpAddr) {
        self.requests.begin();
        counted(&mut self.by_client, &client_key(client)).begin();
    }

    pub(super) fn model(&mut self, model: &str) {
        counted(&mut self.by_model, model).begin();
    }

    pub(super) fn faulty(&mut self, client: IpAddr, model: Option<&str>) {
        self.each(client, model, |counts| counts.faulty += 1);
    }

    pub(super) fn end(&mut self, client: IpAddr, model: Option<&str>, outcome: Outcome) {
        self.each(client, model, |counts| counts.end(outcome));
    }

    fn each(&mut self, client: IpAddr, model: Option<&str>, change: impl Fn(&mut Counts)) {
        change(&mut self.requests);
        change(counted(&mut self.by_client, &client_key(client)));
        if let Some(model) = model {
            change(counted(&mut self.by_model, model));
        }
    }
}

fn counted<'a>(counts: &'a mut BTreeMap<String, Counts>, key: &str) -> &'a mut Counts {
    let known = counts.contains_key(key) || counts.len() < MAX_KEYS;
    counts.entry(if known { key } else { "other" }.to_owned()).or_default()
}
