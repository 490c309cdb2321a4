//! Domain names in wire form (RFC 1035 section 3.1), lower case: what zones are keyed by and what packets carry, so
//! that a query needs no conversion to be looked up.

use std::borrow::Borrow;

use meridian_types::DomainName;

/// Longest name in wire form (RFC 1035 section 2.3.4).
pub(crate) const MAX_NAME: usize = 255;

/// Longest label; a longer length byte is a compression pointer or an extension.
pub(crate) const MAX_LABEL: u8 = 63;

/// An owned lower-case name with its root label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WireName(Box<[u8]>);

impl WireName {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&DomainName> for WireName {
    fn from(name: &DomainName) -> Self {
        let mut wire = Vec::with_capacity(MAX_NAME);
        for label in name.as_str().split('.') {
            // A `DomainName` has labels of at most 63 bytes, in lower case.
            wire.push(u8::try_from(label.len()).unwrap_or(MAX_LABEL));
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        Self(wire.into_boxed_slice())
    }
}

impl From<&[u8]> for WireName {
    fn from(wire: &[u8]) -> Self {
        Self(wire.into())
    }
}

impl Borrow<[u8]> for WireName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// `name`, its parent, its parent's parent and so on; the root is last.
pub(crate) fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |rest| match rest.split_first() {
        Some((&length, tail)) if length > 0 => tail.get(usize::from(length)..),
        _ => None,
    })
}

/// Whether `name` is `ancestor` or below it.
pub(crate) fn is_within(name: &[u8], ancestor: &[u8]) -> bool {
    // Equal bytes at the end are not enough: they may begin in the middle of a label.
    name.ends_with(ancestor) && suffixes(name).any(|suffix| suffix.len() == ancestor.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(name: &str) -> WireName {
        WireName::from(&DomainName::new(name).unwrap())
    }

    #[test]
    fn suffixes_go_up_to_the_root() {
        let name = wire("api.example.com");
        let found: Vec<&[u8]> = suffixes(name.as_bytes()).collect();
        assert_eq!(found, [&b"\x03api\x07example\x03com\0"[..], b"\x07example\x03com\0", b"\x03com\0", b"\0"]);
    }

    #[test]
    fn being_within_minds_label_borders() {
        let check = |name: &str, ancestor: &str, expected: bool| {
            assert_eq!(is_within(wire(name).as_bytes(), wire(ancestor).as_bytes()), expected, "{name} {ancestor}");
        };
        check("example.com", "example.com", true);
        check("a.b.example.com", "example.com", true);
        check("example.com", "a.example.com", false);
        check("notexample.com", "example.com", false);
        // The label `_` with a length byte of 3 before `com` inside a label would look like a border.
        assert!(!is_within(b"\x05a\x03com\0", b"\x03com\0"));
    }
}
