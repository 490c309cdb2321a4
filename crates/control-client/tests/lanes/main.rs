//! The lanes against a scripted control replica, over real gRPC on pipes in memory, in paused time.

mod boot;
mod machine;
mod node;
mod pulse;
mod replica;
mod sync;
