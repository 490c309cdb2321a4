//! Upstreams and links as their users see them, over sockets of ours.

#![cfg(test)] // clippy's allowances for tests then reach helpers too

mod links;
mod pool;
mod probes;
mod support;
mod tls;
