//! Where a request may go, and in which order: pure over one configuration.
//!
//! A [`Table`] is compiled once for each configuration. [`Table::plan`] turns a model name, the caller's
//! [`Constraints`], what is known of each target's health, and injected randomness into an ordered list of
//! [`Candidate`]s, or into a [`Refusal`] that says why there is none.

mod availability;
mod choice;
mod constraints;
mod latency;
mod plan;
mod rendezvous;
mod shuffle;
mod table;

pub use availability::{Availability, Cause, Health, Load};
pub use constraints::Constraints;
pub use latency::{Pace, PeakEwma};
pub use plan::{Candidate, Refusal};
pub use rendezvous::hash;
pub use table::{Table, TargetId};
