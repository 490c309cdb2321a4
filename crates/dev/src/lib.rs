//! Everything in one process: embedded store, control plane, three regions with a node each, DNS and a simulated
//! provider. What `meridian dev` runs.

mod instance;
mod ports;

pub use instance::{Instance, InstanceNode};
pub use ports::{BindError, Ports};
