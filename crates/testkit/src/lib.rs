//! What tests share: simulated hosts for `turmoil`, a log whose hash two runs of one seed must share, waiting for a
//! condition with a deadline instead of sleeping, and a mutator for fuzzing decoders.

mod eventually;
mod files;
mod log;
mod mutate;
mod simulated;

pub use eventually::{eventually, eventually_some};
pub use files::MemoryFiles;
pub use log::EventLog;
pub use mutate::fuzz;
pub use simulated::{SeededEntropy, SimulatedClock, SimulatedNetwork, simulated_host};
