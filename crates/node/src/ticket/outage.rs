//! Outages under load, in paused time: planning, breakers and itinerary together, without sockets.

use std::time::Duration;

use meridian_llm::{Failure, FailureClass};
use meridian_routing::{Constraints, Health, Table, TargetId};
use meridian_types::{Class, Configuration, Model, Provider, Tenant, model};

use super::tests::{account, provider};
use super::*;
use crate::itinerary::Itinerary;

/// Requests a second.
const RATE: u32 = 50;

struct Fleet {
    table: Table,
    accounts: Vec<(Arc<Account>, Arc<Target>)>,
    random: u64,
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    errors: u32,
    /// Attempts at each of the two targets.
    asked: [u32; 2],
}

impl Fleet {
    /// `chat`: one tier for each provider.
    async fn new(providers: &[&str]) -> Self {
        let mut configuration = Configuration::default();
        let mut accounts = Vec::new();
        for name in providers {
            let provider: Provider = provider(name);
            let id = TargetId { provider: provider.name.clone(), model: "m".parse().unwrap() };
            accounts.push((account(&provider).await, Arc::new(Target::new(id))));
            configuration.providers.insert(provider.name.clone(), provider);
        }
        let target = |name: &&str| {
            vec![model::Target {
                provider: name.parse().unwrap(),
                model: "m".parse().unwrap(),
                weight: 100,
                price: None,
                prefill: None,
            }]
        };
        let tiers = providers.iter().map(target).collect();
        let chat =
            Model { name: "chat".parse().unwrap(), tiers, fallbacks: Vec::new(), policy: model::Policy::default() };
        configuration.models.insert(chat.name.clone(), chat);
        Self { table: Table::compile(&configuration), accounts, random: 1 }
    }

    fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One request; `dead` says which targets fail.
    fn request(&mut self, dead: [bool; 2], second: &mut Second) {
        let nobody = Tenant {
            name: "t".parse().unwrap(),
            allowed_jurisdictions: Vec::new(),
            allowed_models: Vec::new(),
            class: Class::default(),
        };
        let find = |id: &TargetId| self.accounts.iter().position(|(_, target)| target.id == *id).unwrap();
        let health = |id: &TargetId| {
            let (account, target) = &self.accounts[find(id)];
            Health { availability: target.availability(account), is_off: false, load: target.load(false) }
        };
        let mut units = vec![self.random as f64 / u64::MAX as f64; 8].into_iter();
        let plan =
            self.table.plan("chat", &Constraints::of(&nobody), &health, &|| 0, &mut || units.next().unwrap_or(0.5));
        let mut itinerary = Itinerary::new(plan.unwrap(), false);
        while let Some(leg) = itinerary.next() {
            let place = find(&leg.candidate.target);
            let (account, target) = &self.accounts[place];
            let again = leg.repeat.is_some();
            if leg.paid && !account.withdraw() {
                continue;
            }
            let Some((mut ticket, _)) = Ticket::begin(account, target, leg.candidate.last_resort) else { continue };
            itinerary.ask();
            second.asked[place] += 1;
            let unit = self.random as f64 / u64::MAX as f64;
            if !dead[place] {
                let _ = ticket.answered(Some(Took::Whole(Duration::from_millis(100))), unit);
                return;
            }
            let failure = Failure::new(FailureClass::Transport, "test");
            let _ = ticket.failed(&failure, again, unit);
            itinerary.failed(leg, &failure);
        }
        second.errors += 1;
    }

    async fn run(&mut self, seconds: u32, dead: [bool; 2]) -> Vec<Second> {
        let mut seen = Vec::new();
        for _ in 0..seconds {
            let mut second = Second::default();
            for _ in 0..RATE {
                let _ = self.unit();
                self.request(dead, &mut second);
                tokio::time::advance(Duration::from_secs(1) / RATE).await;
            }
            seen.push(second);
        }
        seen
    }
}

fn asked(seconds: &[Second], which: usize) -> u32 {
    seconds.iter().map(|second| second.asked[which]).sum()
}

fn errors(seconds: &[Second]) -> u32 {
    seconds.iter().map(|second| second.errors).sum()
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_minute_costs_clients_nothing_and_the_dead_one_few_attempts() {
    let mut fleet = Fleet::new(&["a", "b"]).await;
    let before = fleet.run(10, [false, false]).await;
    assert_eq!((errors(&before), asked(&before, 0)), (0, 10 * RATE));
    let outage = fleet.run(60, [true, false]).await;
    assert_eq!(errors(&outage), 0);
    assert!(asked(&outage, 0) * 20 < 60 * RATE, "below 5 %: {}", asked(&outage, 0));
    assert!(outage[2..].iter().all(|second| second.asked[0] <= 1), "after two seconds only probes");
    let after = fleet.run(40, [false, false]).await;
    assert_eq!(errors(&after), 0);
    let back = after.iter().position(|second| second.asked[0] == RATE).expect("back");
    assert!(back <= 30, "all of its traffic again after {back} s");
    let (_, first) = after.iter().enumerate().find(|(_, second)| second.asked[0] > 2).unwrap();
    assert!(first.asked[0] <= RATE / 2, "no burst at its return: {first:?}");
}

#[tokio::test(start_paused = true)]
async fn when_all_are_dead_attempts_are_hardly_more_than_requests() {
    let mut fleet = Fleet::new(&["a", "b"]).await;
    let _ = fleet.run(60, [false, false]).await;
    let outage = fleet.run(60, [true, true]).await;
    assert_eq!(errors(&outage), 60 * RATE);
    let attempts = asked(&outage, 0) + asked(&outage, 1);
    assert!(attempts * 10 <= 60 * RATE * 12, "{attempts} attempts for {} requests", 60 * RATE);
    let after = fleet.run(10, [false, false]).await;
    assert_eq!(errors(&after), 0, "whoever is tried is found alive at once");
}

#[tokio::test(start_paused = true)]
async fn a_flapping_primary_harms_nobody_and_is_asked_less_and_less() {
    let mut fleet = Fleet::new(&["a", "b"]).await;
    let mut failed = Vec::new();
    for _ in 0..6 {
        let down = fleet.run(5, [true, false]).await;
        let up = fleet.run(5, [false, false]).await;
        assert_eq!(errors(&down) + errors(&up), 0);
        failed.push(asked(&down, 0));
    }
    assert!(failed[3..].iter().all(|count| *count <= failed[0]), "{failed:?}");
}
