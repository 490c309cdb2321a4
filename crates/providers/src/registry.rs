//! The providers that exist. The only place outside its own directory that a new one touches.

use crate::{Provider, anthropic::Anthropic, openai_compatible::OpenAiCompatible};

/// Every provider, in the order shown to operators.
#[must_use]
pub fn registry() -> &'static [&'static dyn Provider] {
    &[&OpenAiCompatible, &Anthropic]
}

/// The provider of that kind.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Provider> {
    registry().iter().copied().find(|provider| provider.name() == name)
}

/// The names, for messages such as "must be one of ...".
#[must_use]
pub fn names() -> Vec<&'static str> {
    registry().iter().map(|provider| provider.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_found_by_its_own_name_only() {
        for provider in registry() {
            assert_eq!(find(provider.name()).map(Provider::name), Some(provider.name()));
        }
        let distinct: std::collections::BTreeSet<_> = names().into_iter().collect();
        assert_eq!(distinct.len(), registry().len());
        assert!(find("").is_none());
    }
}
