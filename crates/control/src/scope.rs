//! Which calls of providers an operator means: those of a provider or of one of its targets, from everywhere or from one
//! region.

use std::fmt;

use meridian_proto::fleet::v1::{FaultSpec, SwitchScope};

/// As requests and documents name it; what is empty is not narrowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope<'a> {
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
    pub(crate) region: &'a str,
}

impl<'a> Scope<'a> {
    /// The subject of events about it: `provider:model`, or the provider.
    pub(crate) fn target(self) -> String {
        match (self.provider, self.model) {
            ("", _) => "every provider".to_owned(),
            (provider, "") => provider.to_owned(),
            (provider, model) => format!("{provider}:{model}"),
        }
    }

    /// Whether there are calls that both mean.
    pub(crate) fn meets(self, other: Scope<'_>) -> bool {
        let meet = |own: &str, other: &str| own.is_empty() || other.is_empty() || own == other;
        meet(self.provider, other.provider) && meet(self.model, other.model) && meet(self.region, other.region)
    }

    /// Calls of a provider, or of one of its targets, from everywhere.
    pub(crate) fn everywhere(provider: &'a str, model: Option<&'a str>) -> Self {
        Self { provider, model: model.unwrap_or_default(), region: "" }
    }
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.target())?;
        if self.region.is_empty() { Ok(()) } else { write!(f, " from {}", self.region) }
    }
}

impl<'a> From<&'a FaultSpec> for Scope<'a> {
    fn from(spec: &'a FaultSpec) -> Self {
        Self { provider: &spec.provider, model: &spec.model, region: &spec.region }
    }
}

impl<'a> From<&'a SwitchScope> for Scope<'a> {
    fn from(scope: &'a SwitchScope) -> Self {
        Self { provider: &scope.provider, model: &scope.model, region: &scope.region }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &'static str) -> Scope<'static> {
        let (target, region) = text.split_once('@').unwrap_or((text, ""));
        let (provider, model) = target.split_once(':').unwrap_or((target, ""));
        Scope { provider, model, region }
    }

    #[test]
    fn scopes_meet_where_both_mean_the_same_calls() {
        let check = |one, other, expected: bool| {
            assert_eq!(scope(one).meets(scope(other)), expected, "{one} {other}");
            assert_eq!(scope(other).meets(scope(one)), expected, "{other} {one}");
        };
        check("a", "a", true);
        check("a", "b", false);
        check("a", "a:m", true);
        check("a:m", "a:n", false);
        check("a@eu", "a@us", false);
        check("a@eu", "a:m", true);
        check("@eu", "a:m", true);
        check("@eu", "a:m@us", false);
    }

    #[test]
    fn a_scope_is_told_as_people_name_it() {
        let check = |text, expected: &str| assert_eq!(scope(text).to_string(), expected);
        check("a", "a");
        check("a:m", "a:m");
        check("a:m@eu", "a:m from eu");
        check("@eu", "every provider from eu");
    }
}
