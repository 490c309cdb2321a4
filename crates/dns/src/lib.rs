//! Authoritative DNS: which addresses a client is told, and the server that tells it.
//!
//! [`answer`] is the whole of it without sockets: a packet and a [`Snapshot`] in, a packet out. A snapshot is compiled
//! from the configuration and the newest plan; [`Handle`] swaps it whole. Every authority that holds the same inputs
//! gives the same answer to the same client.
//!
//! Not here: health. A region leaves the answers because a plan says so, or because the node says that the nodes
//! agreed ([`Handle::set_gone`]).

mod answer;
mod apart;
mod arrange;
mod choose;
mod classes;
mod cookie;
mod encode;
mod explain;
mod fleet;
mod geo;
mod guard;
mod limit;
mod lineup;
mod locate;
mod metrics;
mod name;
mod naming;
mod pool;
mod query_log;
mod ranges;
mod rdata;
mod ready;
mod reload;
mod rendezvous;
mod request;
mod response;
mod service;
mod snapshot;
mod subnet;
mod tcp;
mod ttl;
mod udp;
mod zone;

pub use answer::answer;
pub use cookie::{CookieError, CookieSecrets};
pub use encode::{MAX_UDP_SIZE, Transport};
pub use geo::{GeoDatabase, GeoError, MAX_DATABASE_BYTES};
pub use limit::RateLimit;
pub use naming::{Naming, Served};
pub use service::{Handle, Options, Service};
pub use snapshot::{Inputs, Snapshot};
pub use tcp::{MAX_CONNECTIONS, MAX_CONNECTIONS_OF_NETWORK};
