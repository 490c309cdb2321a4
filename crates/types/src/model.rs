//! Models: public names and where requests for them may go.

use crate::{ModelName, ProviderName};

/// A public model name with its tiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What clients send.
    pub name: ModelName,
    /// Tried in order; each has at least one target.
    pub tiers: Vec<Vec<Target>>,
    /// Models whose tiers come after this one's own, in order.
    pub fallbacks: Vec<ModelName>,
}

/// One place where a request can be served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Which account.
    pub provider: ProviderName,
    /// What the provider calls the model.
    pub model: ModelName,
    /// Relative share within the tier; 0 is used last.
    pub weight: u32,
}
