//! The fake etcd passes the battery that the real one passes, through the real client, fails as the real one fails,
//! and shows the faults of old versions and of careless clients.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: it fails by panicking")]

mod battery;
mod bugs;
mod careless;
mod outages;
mod sandbox;
