//! What is wrong in a configuration, and where.

use std::fmt;

use crate::ErrorCode;

/// Kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Where nodes run.
    Region,
    /// An upstream account.
    Provider,
    /// What clients ask for.
    Model,
    /// What DNS answers for.
    Zone,
    /// Who pays; an account, not part of commits.
    Tenant,
}

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 5] = [Self::Region, Self::Provider, Self::Model, Self::Zone, Self::Tenant];

    /// The name of its message, which is also the `kind` of its YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Region => "Region",
            Self::Provider => "Provider",
            Self::Model => "Model",
            Self::Zone => "Zone",
            Self::Tenant => "Tenant",
        }
    }

    /// From its name, upper or lower case, singular or plural.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let text = text.strip_suffix('s').unwrap_or(&text);
        Self::ALL.into_iter().find(|kind| kind.as_str().to_ascii_lowercase() == text)
    }

    /// Whether it is part of commits. Accounts are not.
    pub fn is_configuration(self) -> bool {
        !matches!(self, Self::Tenant)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong in one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Kind of the resource.
    pub kind: Kind,
    /// Name of the resource; empty if it has none.
    pub name: String,
    /// For example `tiers[0].targets[1].provider`; empty for the resource as a whole.
    pub path: String,
    /// For programs.
    pub code: ErrorCode,
    /// What is wrong and what is allowed.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)?;
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.text)
    }
}
