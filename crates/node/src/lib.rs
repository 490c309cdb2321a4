//! The data plane of one process: what a request meets, in which order, and what runs beside it.
//!
//! [`Service`] puts the parts together: the HTTP surface (`ingress`), providers (`upstream`), configuration and plans
//! (`control-client`), probes of other nodes. The order of a request's layers stands in one place, `stack.rs`.

mod account;
mod admission;
mod agreement;
mod attempt;
mod attempts;
mod caller;
mod continuation;
mod credentials;
mod faults;
mod gather;
mod gossip;
mod handle;
mod hedge;
mod injected;
mod itinerary;
mod journal;
mod lag;
mod ledger;
mod left_out;
mod metrics;
mod node;
mod off;
mod options;
mod outages;
mod pace;
mod patience;
mod peers;
mod pressure;
mod probe;
mod race;
mod recent;
mod relay;
mod report;
mod rescue;
mod resting;
mod scope;
mod service;
mod serving;
mod session;
mod snapshot;
mod source;
mod spill;
mod stack;
mod switches;
mod tally;
mod target;
mod ticket;
mod vigil;
mod watch;
mod window;

pub use handle::Handle;
pub use http::uri::Scheme;
pub use options::{Control, Options, PeerListener};
pub use service::{BuildError, Service};
