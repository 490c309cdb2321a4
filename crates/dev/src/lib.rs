//! Everything in one process: embedded store, control plane, three regions with a node each, DNS and a simulated
//! provider. What `meridian dev` runs.

mod environment;
mod error;
mod instance;
mod ports;
mod running;
mod seed;
mod start;

pub use error::Error;
pub use instance::{Instance, InstanceNode};
pub use ports::{BindError, Ports};
pub use running::RunningInstance;
pub use start::{Options, start};
