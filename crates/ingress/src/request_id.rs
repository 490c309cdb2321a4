//! Request ids. Ours name region and node, so that any control replica knows whom to ask about a request.

use std::fmt;

use http::{HeaderMap, HeaderValue};
use meridian_host::Entropy;

/// Longest id taken from a client: it appears in logs.
const MAX_ID_BYTES: usize = 128;

pub(crate) const HEADER: &str = "x-request-id";

/// What a request is called everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's, if it sent a sane one (1 to 128 of letters, digits, `.`, `_`, `:`, `-`), else
    /// `<region>_<node>_<16 hexadecimal digits>`. Names of regions and nodes hold no `_`.
    pub fn of(headers: &HeaderMap, region: &str, node: &str, entropy: &dyn Entropy) -> Self {
        let sane = |value: &&HeaderValue| {
            let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
            (1..=MAX_ID_BYTES).contains(&value.len()) && value.as_bytes().iter().all(plain)
        };
        if let Some(sent) = headers.get(HEADER).filter(sane) {
            return Self(sent.clone());
        }
        let made = format!("{region}_{node}_{:016x}", entropy.next_u64());
        // Names are plain ASCII, so this cannot fail; if it did, an empty id would do no harm.
        Self(HeaderValue::try_from(made).unwrap_or_else(|_| HeaderValue::from_static("")))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// As a header's value.
    #[must_use]
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use meridian_host::OsEntropy;

    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced_by_one_that_names_the_node() {
        let id = |sent: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(sent) = sent {
                headers.insert(HEADER, HeaderValue::from_str(sent).unwrap());
            }
            RequestId::of(&headers, "eu-west", "n1", &OsEntropy).to_string()
        };
        assert_eq!(id(Some("abc:1.2_3-4")), "abc:1.2_3-4");
        for bad in [None, Some(""), Some("a b"), Some("<script>"), Some(&*"x".repeat(129))] {
            let made = id(bad);
            assert!(made.starts_with("eu-west_n1_") && made.len() == 27, "{made}");
        }
        assert_ne!(id(None), id(None));
    }
}
