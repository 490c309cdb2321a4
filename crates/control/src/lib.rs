//! Control plane: admin and node services, commits, weight planner, leader.
//!
//! [`Service`] runs over any [`Store`](meridian_store::Store). Serving is leaderless: every replica mirrors the store,
//! answers operators and nodes, and sees the whole fleet through its own pulses. One replica at a time, under a fenced
//! lease, turns what it sees into verdicts and plans.

mod options;
mod planner;
mod service;

pub use options::Options;
pub use service::{Handle, Service};
