//! Historical bugs of control planes, re-created between a replica and its store: each breaks a promise that the
//! simulation watches, and without it the same history is clean.

#![expect(clippy::expect_used, reason = "a test: it fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use meridian_proto::fleet::v1 as wire;
use meridian_proto::resources::v1::{Key, Tenant};
use meridian_store::{Batch, Entry, Event, LeaseId, Listing, Op, Result, Revision, Store, Txn, TxnOutcome, Watch};
use meridian_testkit::EventLog;
use meridian_tests::simulation::{Bug as NodeBug, Play, Schedule};
use prost::Message;
use tokio::time::Instant;

/// The writer with the stale plan is late by so many plans.
const PLANS_BEFORE: u64 = 2;
/// The deaf replica hears everything until the fleet has come up.
const DEAF_AFTER: Duration = Duration::from_secs(5);
/// More than a commit may have, less than etcd takes.
const BLOATED_BYTES: usize = 1_300_000;
/// In the year 2096, in seconds since 1970.
const LATER_UNIX_S: i64 = 4_000_000_000;
/// Requests in flight, of a region's 24: all of three regions' fits into two.
const OFFERED: f64 = 10.0;

/// Which bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// After a restart versions begin anew: the plan in the store is not read (Contour issue 6250).
    ForgetsVersions,
    /// A stale writer leaves an empty plan behind, without comparing anything (AWS DynamoDB DNS, October 2025).
    EmptiesPlan,
    /// A generated file grows beyond what its readers take (Cloudflare, November 2025).
    BloatsCommits,
    /// All load is moved to one region, however much of it has room elsewhere (Envoy's priorities take the next one to
    /// have room for everything).
    PilesUp,
    /// The plan for a region's loss was made as if it were there.
    KeepsTheGone,
    /// Who is not heard is taken for dead (what leases on nodes do when only the control plane is cut off).
    BuriesTheSilent,
    /// What is not known any more is tidied up (Kuma issue 9455).
    TidiesUp,
    /// A region that is down keeps a share, as the others have too little room.
    FeedsTheDead,
    /// One replica hears of no new head, neither by its watch nor when it lists anew (a cache in between).
    HearsNothingNew,
    /// A writer that does not know the field leaves out where a tenant's requests may be served.
    ForgetsResidency,
    /// A tenant may be served wherever there are nodes of ours.
    WidensResidency,
    /// A fence is drawn anew, and no region is inside.
    ForbidsEverything,
    /// Whoever asks for a region that is down is to reach somebody at least: it is lent another's addresses.
    LendsAddresses,
    /// A writer that does not know the field leaves out where regions are reached.
    ForgetsAddresses,
    /// When a key ends is written in seconds, and read in milliseconds.
    MistakesUnits,
    /// The head is written in a form that no reader knows.
    GarblesHead,
}

/// A store with a bug.
#[derive(Clone)]
struct Buggy {
    inner: Arc<dyn Store>,
    bug: Bug,
    plans: Arc<AtomicU64>,
    /// Whether it is the replica that hears nothing new, and since when.
    deaf_from: Option<Instant>,
    /// What it last heard of what nodes are to run.
    heard: Arc<Mutex<BTreeMap<String, Entry>>>,
}

fn is_plan(key: &str) -> bool {
    key.ends_with("/plan")
}

/// Whether it says what nodes are to run: of these a deaf replica hears nothing, or what it knew would contradict itself.
fn is_intent(key: &str) -> bool {
    key.ends_with("/head") || key.contains("/pin/") || key.contains("/rollout/")
}

impl Buggy {
    /// The transaction as the bug writes it.
    fn spoil(&self, txn: Txn) -> Txn {
        let careless = matches!(self.bug, Bug::ForgetsVersions | Bug::EmptiesPlan);
        let compares = txn.compares().iter().filter(|compare| !(careless && is_plan(compare.key())));
        let spoiled = compares.fold(Txn::new(), |spoiled, compare| spoiled.when(compare.clone()));
        let tidied = |key: &str| {
            let tidies = self.bug == Bug::TidiesUp && is_plan(key) && self.is_late();
            tidies.then(|| format!("{}/tenant/demo", key.trim_end_matches("/plan")))
        };
        txn.ops().iter().fold(spoiled, |spoiled, op| match op {
            Op::Put { key, value, lease: None } => {
                let spoiled = spoiled.put(key, self.value(key, value));
                tidied(key).into_iter().fold(spoiled, Txn::delete)
            }
            Op::Put { key, value, lease: Some(lease) } => spoiled.put_with_lease(key, value.clone(), *lease),
            Op::Delete { key } => spoiled.delete(key),
        })
    }

    fn is_deaf(&self) -> bool {
        self.deaf_from.is_some_and(|from| Instant::now() >= from)
    }

    /// What it hears of all that there is.
    fn hear_all(&self, entries: &mut Vec<Entry>) {
        let mut heard = self.heard.lock().expect("no panic before");
        if self.is_deaf() {
            entries.retain(|entry| !is_intent(&entry.key));
            entries.extend(heard.values().cloned());
            entries.sort_by(|one, other| one.key.cmp(&other.key));
        } else {
            let intents = entries.iter().filter(|entry| is_intent(&entry.key));
            *heard = intents.map(|entry| (entry.key.clone(), entry.clone())).collect();
        }
    }

    /// Whether it hears of this.
    fn hears(&self, event: &Event) -> bool {
        let key = event.key();
        if !is_intent(key) {
            return true;
        }
        if !self.is_deaf() {
            let mut heard = self.heard.lock().expect("no panic before");
            match event {
                Event::Put(entry) => heard.insert(key.to_owned(), entry.clone()),
                Event::Delete { .. } => heard.remove(key),
            };
        }
        !self.is_deaf()
    }

    /// Whether enough plans were written.
    fn is_late(&self) -> bool {
        self.plans.fetch_add(1, Ordering::SeqCst) >= PLANS_BEFORE
    }

    fn value(&self, key: &str, value: &Bytes) -> Bytes {
        match self.bug {
            Bug::EmptiesPlan if is_plan(key) && self.is_late() => Bytes::new(),
            Bug::PilesUp if is_plan(key) => change(value, pile_up),
            Bug::KeepsTheGone if is_plan(key) => change(value, keep_the_gone),
            Bug::BuriesTheSilent if is_plan(key) => change(value, bury_the_silent),
            Bug::FeedsTheDead if is_plan(key) => change(value, feed_the_dead),
            Bug::LendsAddresses if is_plan(key) => change(value, lend_addresses),
            Bug::ForgetsAddresses if is_plan(key) => change(value, forget_addresses),
            Bug::ForgetsResidency if key.contains("/tenant/") => served_in(value, &[]),
            Bug::WidensResidency if key.contains("/tenant/") => served_in(value, &["EU", "SG", "US"]),
            Bug::ForbidsEverything if key.ends_with("/tenant/fenced") => served_in(value, &["JP"]),
            Bug::MistakesUnits if key.contains("/key/") => ending(value, LATER_UNIX_S),
            Bug::GarblesHead if key.ends_with("/head") => Bytes::from_static(b"commit 1"),
            Bug::BloatsCommits if key.contains("/commit/") => Bytes::from(vec![0x5a; BLOATED_BYTES]),
            _ => value.clone(),
        }
    }
}

/// The plan as a planner with the bug would have made it.
fn change(value: &Bytes, bug: fn(&mut wire::Plan)) -> Bytes {
    let mut plan = wire::Plan::decode(value.clone()).expect("a plan");
    bug(&mut plan);
    plan.encode_to_vec().into()
}

fn all_to(region: &str) -> Vec<wire::Share> {
    vec![wire::Share { region: region.to_owned(), permille: 1000 }]
}

/// Each region's clients offer `OFFERED`.
fn pile_up(plan: &mut wire::Plan) {
    for region in &mut plan.regions {
        region.settled = Some(wire::Settled { placement: all_to("us-west"), demand: OFFERED, weight: 100 });
    }
}

fn keep_the_gone(plan: &mut wire::Plan) {
    plan.contingencies.iter_mut().for_each(|contingency| contingency.weights = all_to(&contingency.gone));
}

fn bury_the_silent(plan: &mut wire::Plan) {
    let silent = |region: &&mut wire::RegionPlan| region.reason.contains("frozen");
    let lost: u32 = plan.regions.iter_mut().filter(silent).map(|region| std::mem::take(&mut region.weight)).sum();
    if let Some(region) = plan.regions.iter_mut().find(|region| region.weight > 0) {
        region.weight += lost;
    }
}

/// The tenant with other places.
fn served_in(value: &Bytes, places: &[&str]) -> Bytes {
    let tenant = Tenant::decode(value.clone()).expect("a tenant");
    let allowed_jurisdictions = places.iter().map(|place| (*place).to_owned()).collect();
    Tenant { allowed_jurisdictions, ..tenant }.encode_to_vec().into()
}

/// The key with another end.
fn ending(value: &Bytes, expires_at_unix_ms: i64) -> Bytes {
    let key = Key::decode(value.clone()).expect("a key");
    Key { expires_at_unix_ms, ..key }.encode_to_vec().into()
}

fn feed_the_dead(plan: &mut wire::Plan) {
    let dead = |region: &&mut wire::RegionPlan| region.state() == wire::RegionState::Down;
    let fed = plan.regions.iter_mut().find(dead).map(|region| region.weight += 1);
    // The shares still add up.
    let rich = plan.regions.iter_mut().find(|region| region.weight > 1);
    rich.zip(fed).into_iter().for_each(|(region, ())| region.weight -= 1);
}

fn lend_addresses(plan: &mut wire::Plan) {
    let lent = plan.regions.iter().find(|region| region.region == "us-west").map(|region| region.addresses.clone());
    let dead = plan.regions.iter_mut().filter(|region| region.state() == wire::RegionState::Down);
    dead.for_each(|region| region.addresses = lent.clone().unwrap_or_default());
}

fn forget_addresses(plan: &mut wire::Plan) {
    plan.regions.iter_mut().for_each(|region| region.addresses.clear());
}

#[async_trait]
impl Store for Buggy {
    async fn list(&self, prefix: &str) -> Result<Listing> {
        let mut listing = self.inner.list(prefix).await?;
        self.hear_all(&mut listing.entries);
        if self.bug == Bug::ForgetsVersions {
            listing.entries.retain(|entry| !is_plan(&entry.key));
        }
        Ok(listing)
    }
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.inner.txn(self.spoil(txn)).await
    }
    async fn cluster_id(&self) -> Result<u64> {
        self.inner.cluster_id().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get(key).await
    }
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        let (watch, ear) = (self.inner.watch(prefix, from).await?, self.clone());
        Ok(Watch::new(watch.map_ok(move |batch| {
            let events = batch.events.into_iter().filter(|event| ear.hears(event)).collect();
            Batch { revision: batch.revision, events }
        })))
    }
    async fn compact(&self, at: Revision) -> Result<()> {
        self.inner.compact(at).await
    }
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        self.inner.grant_lease(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.inner.keep_alive(lease).await
    }
    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.inner.revoke_lease(lease).await
    }
}

fn play(schedule: Schedule) -> Play {
    Play::of(5, schedule)
}

/// What the simulation says of the bug.
fn told(bug: Bug) -> String {
    told_by(Schedule::restart_of_control(), bug)
}

fn told_by(schedule: Schedule, bug: Bug) -> String {
    let plans = Arc::new(AtomicU64::new(0));
    let replicas = AtomicU64::new(0);
    let wrap = move |inner: Arc<dyn Store>| {
        let is_deaf = bug == Bug::HearsNothingNew && replicas.fetch_add(1, Ordering::SeqCst) == 0;
        let deaf_from = is_deaf.then(|| Instant::now() + DEAF_AFTER);
        Arc::new(Buggy { inner, bug, plans: plans.clone(), deaf_from, heard: Arc::default() }) as Arc<dyn Store>
    };
    broken(&play(schedule).over(Arc::new(wrap)))
}

/// The promise that is broken in the end.
fn broken(play: &Play) -> String {
    let log = EventLog::default();
    let told = play.run(&log).map_err(|error| error.to_string());
    told.expect_err(&format!("the bug is not detected:\n{}", log.lines().join("\n")))
}

#[test]
fn without_a_bug_a_restart_of_the_whole_control_plane_breaks_no_promise() {
    play(Schedule::restart_of_control()).run(&EventLog::default()).unwrap();
}

#[test]
fn plan_numbers_that_begin_anew_after_a_restart_are_detected() {
    let told = told(Bug::ForgetsVersions);
    assert!(told.contains("was written after plan"), "{told}");
}

#[test]
fn an_empty_plan_of_a_stale_writer_is_detected() {
    let told = told(Bug::EmptiesPlan);
    assert!(told.contains("the store has a plan that is none"), "{told}");
}

#[test]
fn a_commit_that_no_reader_takes_is_detected() {
    let told = told(Bug::BloatsCommits);
    assert!(told.contains("has 1300000 bytes"), "{told}");
}

#[test]
fn a_head_that_no_reader_knows_is_detected() {
    let told = told(Bug::GarblesHead);
    assert!(told.contains("head cannot be read: "), "{told}");
}

#[test]
fn a_good_key_that_is_refused_is_detected() {
    let told = told(Bug::MistakesUnits);
    assert!(told.ends_with("a client with a good key and a good model was answered 401"), "{told}");
}

#[test]
fn a_tenant_that_is_served_nowhere_inside_its_fence_is_detected() {
    let told = told(Bug::ForbidsEverything);
    assert!(told.ends_with("the tenant fenced was answered 403 inside its fence"), "{told}");
}

#[test]
fn a_name_without_any_address_is_detected() {
    let told = told(Bug::ForgetsAddresses);
    assert!(told.ends_with("has a plan and answers fenced.meridian.test with rcode 2 and no address"), "{told}");
}

#[test]
fn load_that_is_piled_up_though_it_would_fit_is_detected() {
    let told = told(Bug::PilesUp);
    // How much it has room for depends on how many of its nodes have come by then.
    assert!(told.contains("means us-west to carry 30.0, beyond its "), "{told}");
    assert!(told.ends_with("though 30.0 would fit"), "{told}");
}

#[test]
fn a_contingency_that_sends_clients_to_the_lost_region_is_detected() {
    let told = told(Bug::KeepsTheGone);
    assert!(told.contains("even when it is gone"), "{told}");
}

#[test]
fn a_region_that_only_loses_control_keeps_its_weight_and_a_planner_that_buries_the_silent_is_detected() {
    play(Schedule::lost_control()).run(&EventLog::default()).unwrap();
    let told = told_by(Schedule::lost_control(), Bug::BuriesTheSilent);
    assert!(told.contains("lowers eu-west from 333 to 0, which only lost control"), "{told}");
}

#[test]
fn a_deletion_that_nobody_asked_for_is_detected() {
    let told = told(Bug::TidiesUp);
    assert!(told.contains("tenant/demo was deleted, and nobody had asked for it"), "{told}");
}

#[test]
fn a_dead_region_that_keeps_a_share_is_detected() {
    let told = told_by(Schedule::dead_regions(), Bug::FeedsTheDead);
    assert!(told.contains("sends clients to eu-west, which is down"), "{told}");
}

#[test]
fn a_replica_that_stays_behind_after_everything_healed_is_detected() {
    let told = told_by(Schedule::crowd(), Bug::HearsNothingNew);
    assert!(told.contains("all came together"), "{told}");
}

#[test]
fn a_crowd_is_shed_and_a_limiter_that_admits_more_than_a_node_takes_is_detected() {
    play(Schedule::crowd()).run(&EventLog::default()).unwrap();
    let told = broken(&play(Schedule::crowd()).with(NodeBug::AdmitsTooMuch));
    assert!(told.contains("eu-west-") && told.contains("requests, and has room for 8"), "{told}");
}

#[test]
fn a_divergence_that_the_node_does_not_report_is_detected() {
    let told = broken(&play(Schedule::crowd()).with(NodeBug::RemembersDigests));
    assert!(told.contains("serves what it should not, and only 0 replicas say so"), "{told}");
}

#[test]
fn a_tenants_request_that_goes_to_a_provider_outside_its_jurisdictions_is_detected() {
    let told = told_by(Schedule::crowd(), Bug::ForgetsResidency);
    assert!(told.contains("a request of the tenant fenced went through") && told.ends_with("to provider"), "{told}");
}

#[test]
fn a_tenants_request_is_handed_over_inside_its_jurisdictions_and_one_that_leaves_them_is_detected() {
    play(Schedule::lost_provider()).run(&EventLog::default()).unwrap();
    let told = told_by(Schedule::lost_provider(), Bug::WidensResidency);
    let outside = "a request of the tenant fenced went through us-west-";
    assert!(told.contains(outside) && told.ends_with("to provider-eu"), "{told}");
}

#[test]
fn answers_stay_inside_their_fence_when_all_of_it_is_dead_and_one_that_leaves_it_is_detected() {
    play(Schedule::dead_regions()).run(&EventLog::default()).unwrap();
    let told = told_by(Schedule::dead_regions(), Bug::LendsAddresses);
    assert!(told.contains("answers fenced.meridian.test with us-west-"), "{told}");
    assert!(told.ends_with("outside its fence"), "{told}");
}

#[test]
fn a_region_that_dies_while_nobody_plans_leaves_dns_and_one_that_stays_in_it_is_detected() {
    for dead in [false, true] {
        let play = play(Schedule::dead_region_that_nobody_plans_for(dead));
        play.run(&EventLog::default()).unwrap();
        let told = broken(&play.with(NodeBug::MishearsLosses));
        assert!(told.contains(" names eu-west, which has long been dead"), "{told}");
    }
}
