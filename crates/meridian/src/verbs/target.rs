//! A provider or one of its targets, as operators write it and as it is shown.

use std::str::FromStr;

/// A provider, or one of its targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) provider: String,
    /// By the upstream's name; empty: all of them.
    pub(super) model: String,
}

impl Target {
    /// One target, written provider/model or provider:model.
    pub(super) fn one(text: &str) -> Result<Self, String> {
        let target: Self = text.parse().map_err(|_| "write provider/model")?;
        if target.model.is_empty() { Err("write provider/model".to_owned()) } else { Ok(target) }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Names of providers hold neither; names of models may hold both.
        let split = text.split_once(['/', ':']);
        let (provider, model) = split.unwrap_or((text, ""));
        if provider.is_empty() || split.is_some_and(|(_, model)| model.is_empty()) {
            return Err("write provider or provider:model".to_owned());
        }
        Ok(Self { provider: provider.to_owned(), model: model.to_owned() })
    }
}

/// How it is shown; what is empty is all.
pub(super) fn name(provider: &str, model: &str) -> String {
    match (provider, model) {
        ("", _) => "all".to_owned(),
        (provider, "") => provider.to_owned(),
        (provider, model) => format!("{provider}:{model}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_written() {
        let both = |provider: &str, model: &str| Some((provider.to_owned(), model.to_owned()));
        let check = |text: &str, expected: Option<(String, String)>| {
            let read = text.parse::<Target>().ok().map(|target| (target.provider, target.model));
            assert_eq!(read, expected, "{text}");
        };
        check("a/m", both("a", "m"));
        check("a:org/m:1", both("a", "org/m:1"));
        check("a/org/m:1", both("a", "org/m:1"));
        check("a", both("a", ""));
        for wrong in ["", "/m", "a/", "a:"] {
            check(wrong, None);
        }
        assert!(Target::one("a/m").is_ok() && Target::one("a").is_err() && Target::one("a/").is_err());
    }
}
