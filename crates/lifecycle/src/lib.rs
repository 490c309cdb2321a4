//! How a process starts, runs and stops: [`Shutdown`] carries the two signals, [`Tasks`] keeps every background task
//! under a name with what its failure means, [`Readiness`] is what `/readyz` and health services say.

mod readiness;
mod shutdown;
mod tasks;

pub use readiness::Readiness;
pub use shutdown::{Shutdown, ShutdownTrigger, on_signals, shutdown};
pub use tasks::{Kind, Tasks};
