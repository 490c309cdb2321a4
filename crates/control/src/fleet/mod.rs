//! The fleet as this replica sees it through its own streams: in memory, never stored.

mod divergence;
mod latency;
mod load;
mod memory;
mod notes;
mod peers;
mod sessions;

pub(crate) use load::{RegionLoad, Smoothed};
pub(crate) use memory::{Fleet, GONE, Node, Refusal};
pub(crate) use peers::Roster;
pub(crate) use sessions::{Ask, AskError, Asks};
