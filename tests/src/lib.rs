//! What the tests from outside share: a simulated fleet of the binary's own roles, and a fake etcd.

pub mod etcd;
pub mod simulation;
