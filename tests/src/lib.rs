//! What the tests from outside share: a simulated fleet of the binary's own roles.

pub mod simulation;
