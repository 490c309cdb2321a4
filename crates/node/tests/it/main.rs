//! A node between real clients and simulated providers, over loopback.

#![cfg(test)] // clippy's allowances for tests then reach helpers too

mod accounting;
mod agreement;
mod choice;
mod continuation;
mod credentials;
mod drain;
mod failover;
mod fleet;
mod hedge;
mod lifecycle;
mod limits;
mod memory;
mod messages;
mod pace;
mod pass_through;
mod probes;
mod rehearsals;
mod rest;
mod scenarios;
mod silence;
mod spill;
mod streams;
mod support;
mod switches;
mod tokens;
