//! The fake etcd passes the battery that the real one passes, through the real client, and fails as the real one fails.

#![expect(clippy::unwrap_used, reason = "test code: it fails by panicking")]

mod battery;
mod outages;
mod sandbox;
