//! Whole replicas over a memory store, with nodes played by hand over loopback.

mod admin;
mod backup;
mod bulk;
mod events;
mod faults;
mod fencing;
mod fleet;
mod frozen;
mod lanes;
mod leader;
mod node;
mod promises;
mod questions;
mod rollout;
mod sandbox;
mod surface;
mod switches;
mod upstreams;
