//! Which targets an operator means: all of a provider, or one.

use meridian_routing::TargetId;

/// What is empty is not narrowed down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) provider: String,
    pub(crate) model: String,
}

impl Scope {
    pub(crate) fn has(&self, target: &TargetId) -> bool {
        (self.provider.is_empty() || self.provider == target.provider.as_str())
            && (self.model.is_empty() || self.model == target.model.as_str())
    }

    /// Whether it is about all of a provider, and so about its probes too.
    pub(crate) fn has_all_of(&self, provider: &str) -> bool {
        self.model.is_empty() && (self.provider.is_empty() || self.provider == provider)
    }
}
