//! From evidence to verdict: who is serving, who is down, and who is only out of our sight. Pure: no IO, no clock.
//!
//! Four classes of evidence speak about a node: **S**, its own report; **C**, its control session; **P**, probes by other
//! nodes; **T**, requests that other nodes handed over to it. The rules, each with its reason:
//!
//! - S may only lower a verdict: a sick process says that it is well.
//! - C lost alone freezes a node and lowers nothing: a node that serves but cannot reach us must not be drained.
//! - DOWN needs two classes, and the agreement of other regions: [`votes`] counts them. C and P are the usual two; P and T
//!   are those of a node that beats and serves nobody.
//! - An observer that cannot reach most of the nodes that *we* see alive is itself the problem, and abstains.
//! - Many nodes of a region going down at once, with nobody outside agreeing, is more likely our own mistake: the brake
//!   freezes them.
//! - Coming back takes longer than going: a node must be well for a while.
//!
//! Of upstreams nodes speak from their own attempts alone; [`outage`] tells one that is down everywhere from one that is
//! down only from here.

pub mod agreement;
mod evidence;
mod judge;
mod region;
mod upstream;
pub mod votes;

pub use evidence::{Handed, NodeEvidence, Observation, OwnState, Pulse, SILENCE, TRUSTED_LAG, UNSEEN_GRACE};
pub use judge::{Held, NodeVerdict, Now, RECOVERY_HOLD, Verdicts, judge};
pub use region::{RegionVerdict, region};
pub use upstream::{Findings, HeldUpstream, Outage, UpstreamVerdict, outage, upstream};
