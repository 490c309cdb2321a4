//! Control plane: admin and node services, commits, weight planner, leader.
//!
//! [`Service`] runs over any [`Store`](meridian_store::Store). Serving is leaderless: every replica mirrors the store,
//! answers operators and nodes, and sees the whole fleet through its own pulses. One replica at a time, under a fenced
//! lease, turns what it sees into verdicts and plans.
//!
//! Invariants: nothing is decided on a mirror that another could have changed without the transaction noticing; no
//! wall clock decides anything but expiry that people wrote as a date; a lost store stops plans and writes, nothing
//! else.

mod access;
mod admin;
pub mod backup;
mod events;
mod faults;
mod fleet;
mod lead;
mod metrics;
mod node;
mod options;
mod overrides;
mod planner;
mod rollout;
mod scope;
mod service;
mod shared;
mod store;
mod switches;
#[cfg(test)]
mod tests;
mod view;

pub use options::{Options, Plaintext};
pub use service::{Error, Handle, Service};
