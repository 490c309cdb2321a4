//! What makes requests belong together, so that they find the provider's prompt cache warm.

use http::HeaderMap;

/// Named by the client: ours, and Claude Code's.
const HEADERS: [&str; 2] = ["x-meridian-session", "x-claude-code-session-id"];

/// Instructions and the first message stand in front and stay the same from turn to turn. Providers cache prompts from
/// 1024 tokens on, so that what is shorter than this has no cache to lose.
const PREFIX_BYTES: usize = 2048;

/// The session of a request, as a hash.
pub(crate) fn key(headers: &HeaderMap, body: &[u8]) -> u64 {
    let named = HEADERS.iter().find_map(|name| headers.get(*name)).filter(|value| !value.is_empty());
    let text = named.map_or_else(|| body.get(..PREFIX_BYTES).unwrap_or(body), |value| value.as_bytes());
    meridian_routing::hash(text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_name_decides_and_else_the_beginning_of_the_body() {
        let named = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
        };
        let none = HeaderMap::new();
        let long = vec![b'x'; 3000];
        let mut longer = long.clone();
        longer.extend_from_slice(b"the next turn");
        assert_eq!(key(&none, &long), key(&none, &longer));
        assert_ne!(key(&none, b"one"), key(&none, b"two"));
        assert_eq!(
            key(&named("x-meridian-session", "s"), b"one"),
            key(&named("x-claude-code-session-id", "s"), b"two")
        );
        assert_ne!(key(&named("x-meridian-session", "s"), b"one"), key(&named("x-meridian-session", "t"), b"one"));
        assert_eq!(key(&named("x-meridian-session", ""), b"one"), key(&none, b"one"));
    }
}
