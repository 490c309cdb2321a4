//! Names. Each kind of thing has its own type, so that one cannot stand where another is meant.

use std::fmt;
use std::str::FromStr;

/// Why a text is no valid name; says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no valid {what}: {allowed}")]
pub struct NameError {
    what: &'static str,
    text: String,
    allowed: &'static str,
}

impl NameError {
    fn new(what: &'static str, text: &str, allowed: &'static str) -> Self {
        // A name that is wrong may also be very long.
        let text = text.chars().take(80).collect();
        Self { what, text, allowed }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $valid:path, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            #[doc = concat!("Checks `text`: ", $allowed, ".")]
            pub fn new(text: &str) -> Result<Self, NameError> {
                if $valid(text) { Ok(Self(text.into())) } else { Err(NameError::new($what, text, $allowed)) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A region, for example `eu-west`.
    RegionName, "region name", is_label, "1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit"
);
name!(
    /// A cell: the unit of rollout within a region.
    CellName, "cell name", is_label, "1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit"
);
name!(
    /// A node.
    NodeName, "node name", is_label, "1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit"
);
name!(
    /// An upstream account or deployment.
    ProviderName, "provider name", is_label, "1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit"
);
name!(
    /// Who pays.
    TenantName, "tenant name", is_label, "1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit"
);
name!(
    /// A model as clients send it, or as a provider calls it.
    ModelName, "model name", is_model, "1 to 200 printable characters without spaces"
);
name!(
    /// A legal area, for example `EU`.
    Jurisdiction, "jurisdiction", is_jurisdiction, "2 to 16 of A-Z, 0-9 and '-', for example US, EU, CN"
);

fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_model(text: &str) -> bool {
    // The name stands in URLs, headers and logs.
    (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_jurisdiction(text: &str) -> bool {
    (2..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
}

/// An absolute domain name in lower case without the final dot (RFC 1035 section 2.3.1, underscores and a leading
/// `*` allowed); at most 253 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(std::sync::Arc<str>);

impl DomainName {
    /// Checks `text`; a final dot is dropped, upper case is lowered.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'*')
                && (!label.contains('*') || label == "*")
        };
        if name.len() <= 253 && name.split('.').all(label) {
            Ok(Self(name.into()))
        } else {
            Err(NameError::new("domain name", text, "labels of 1 to 63 letters, digits, '-' or '_', at most 253 bytes"))
        }
    }

    /// `relative` below `self`; `@` is `self`.
    pub fn child(&self, relative: &str) -> Result<Self, NameError> {
        if relative == "@" { Ok(self.clone()) } else { Self::new(&format!("{relative}.{self}")) }
    }

    /// Whether `self` is `zone` or below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        self.0.strip_suffix(&*zone.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The name as text, without the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for DomainName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_allow_what_they_say() {
        for good in ["a", "eu-west", "n1", &"x".repeat(63)] {
            assert!(RegionName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", &"x".repeat(64)] {
            assert!(RegionName::new(bad).is_err(), "{bad}");
        }
        assert!(ModelName::new("openai/gpt-4o:beta").is_ok());
        assert!(ModelName::new("two words").is_err());
        assert!(Jurisdiction::new("EU").is_ok());
        assert!(Jurisdiction::new("eu").is_err());
    }

    #[test]
    fn domain_names_are_lowered_and_compared_by_label() {
        let zone = DomainName::new("Example.COM.").unwrap();
        assert_eq!(zone.as_str(), "example.com");
        assert!(zone.child("api").unwrap().is_within(&zone));
        assert!(zone.child("@").unwrap().is_within(&zone));
        assert!(!DomainName::new("badexample.com").unwrap().is_within(&zone));
        for bad in ["", "a..b", "a b.c", &format!("{}.c", "x".repeat(64)), "a*.c"] {
            assert!(DomainName::new(bad).is_err(), "{bad}");
        }
    }
}
