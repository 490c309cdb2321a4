//! The operators' API.

mod accounts;
mod apply;
mod audit;
mod begin;
mod check;
mod events;
mod explain;
mod faults;
mod fleet;
mod held;
mod known;
mod overrides;
mod rehearse;
mod rollouts;
mod service;
mod switches;
mod write;

pub(crate) use service::Admin;

/// What there is, for whoever asked for something else: each name once, in order.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
