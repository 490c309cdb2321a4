//! Ids, validated resources, plans, latencies and the closed list of error codes; no IO.
//!
//! A value of these types is valid: messages become domain types in `meridian_proto::convert`, which reports every
//! [`Mistake`] with its field path.

pub mod account;
mod code;
mod configuration;
mod digest;
mod generation;
mod latency;
mod mistake;
pub mod model;
mod name;
pub mod peer;
mod plan;
pub mod probe;
pub mod provider;
pub mod record;
pub mod region;
mod request_id;
pub mod served;
pub mod zone;

pub use account::{Class, Key, KeyHash, Tenant, key_text};
pub use code::ErrorCode;
pub use configuration::Configuration;
pub use digest::Digest;
pub use generation::{CommitId, Incarnation, PlanId};
pub use latency::{LastMinute, LatencySketch};
pub use mistake::{Kind, Mistake};
pub use model::Model;
pub use name::{
    CellName, DomainName, Jurisdiction, ModelName, NameError, NodeName, ProviderName, RegionName, TenantName,
};
pub use plan::{Contingency, Permille, Plan, PlanError, RegionPlan, RegionState, Settled, Shares};
pub use provider::Provider;
pub use region::{Coordinates, Region};
pub use request_id::RequestId;
pub use zone::Zone;
