//! What the tests from outside share: a simulated fleet of the binary's own roles, simulated outages of providers, a fake
//! etcd, and the control plane's benchmark.

pub mod bench_control;
pub mod etcd;
pub mod outage;
pub mod simulation;
