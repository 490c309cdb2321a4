//! The weight planner: from what is known about the regions to the next plan. Pure: state in, state out.
//!
//! A plan has two views of one decision. A *placement* row says where the clients nearest to a region go; the
//! *weights* are the declared weights sent through the rows. Three things move a row away from "stay": a region that
//! takes no traffic, load beyond what its capacity should carry, and a first token that comes much later than
//! elsewhere.
//!
//! What moves is settled only when something structural changes or a threshold is crossed, and then held: numbers that
//! wander within the thresholds change no plan. Forced moves take effect whole in the next plan, voluntary ones ramp.

mod base;
mod check;
mod flaps;
mod inputs;
mod latency;
mod load;
mod moves;
mod next;
mod ramp;
mod rehearse;
mod shares;
mod shift;
mod target;
mod waterfall;

pub(crate) use check::{Broken, again, objection};
pub(crate) use inputs::{Inputs, RegionInput};
pub(crate) use load::RETURN;
pub(crate) use next::{Memory, next};
pub(crate) use rehearse::{Rehearsed, Supposition, rehearse};

/// Makes the next plan; [`next`], but where a test has another.
pub(crate) type Planner = fn(&Inputs, Option<&meridian_types::Plan>, &mut Memory) -> Option<meridian_types::Plan>;

/// Share of a region's capacity that is planned to be used: the rest carries bursts and the loss of a neighbour.
pub(crate) const UTILISATION: f64 = 0.85;

/// The whole, in permille.
const WHOLE: u32 = 1000;

#[cfg(test)]
mod tests;
