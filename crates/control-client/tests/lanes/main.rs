//! The lanes against a scripted control replica, over real gRPC on pipes in memory, in paused time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests; clippy exempts only the functions that are marked as tests"
)]

mod boot;
mod machine;
mod node;
mod pulse;
mod replica;
mod sync;
