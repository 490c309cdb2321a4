//! What faults there are and what each takes, so that a refusal says what is allowed.

/// Every fault with its arguments, in the order of the documentation.
pub(super) const FAULTS: [(&str, &[&str]); 23] = [
    ("latency", &["ms", "from_ms", "to_ms", "over_ms"]),
    ("first_token", &["ms", "ping_ms"]),
    ("gap", &["ms", "ping_ms"]),
    ("error", &["status", "kind", "retry_after", "retry_after_ms"]),
    ("refuse", &[]),
    ("hang", &[]),
    ("empty", &[]),
    ("garbage", &[]),
    ("stall", &["after", "ms"]),
    ("cut", &["after", "how"]),
    ("end", &["after"]),
    ("bad_json", &[]),
    ("bad_sse", &["after"]),
    ("no_done", &[]),
    ("no_finish", &["after"]),
    ("truncate", &["after"]),
    ("wrong_length", &["delta"]),
    ("error_event", &["after", "kind"]),
    ("drip", &["bytes_per_s"]),
    ("emoji", &["after", "how"]),
    ("prompt_filter", &[]),
    ("reject_prefill", &[]),
    ("refusal", &["after"]),
];

/// What the fault takes; `None`: there is no such fault.
pub(super) fn arguments_of(fault: &str) -> Option<&'static [&'static str]> {
    FAULTS.iter().find(|(name, _)| *name == fault).map(|(_, arguments)| *arguments)
}

/// What to write in place of the unknown fault.
pub(super) fn instead_of_fault(unknown: &str) -> String {
    instead(unknown, &FAULTS.map(|(name, _)| name), "there are")
}

/// What to write in place of an argument that the fault does not take.
pub(super) fn instead_of_argument(fault: &str, unknown: &str) -> String {
    match arguments_of(fault) {
        None | Some([]) => "; it takes no argument".to_owned(),
        Some(arguments) => instead(unknown, arguments, "it takes"),
    }
}

fn instead(unknown: &str, allowed: &[&str], lead: &str) -> String {
    let meant = nearest(unknown, allowed).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    format!("{meant}; {lead} {}", allowed.join(", "))
}

/// Two letters wrong in a longer word, one in a short one: further away it is a guess.
fn nearest<'a>(word: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let limit = if word.len() > 4 { 2 } else { 1 };
    let scored = allowed.iter().map(|name| (strsim::damerau_levenshtein(word, name), *name));
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_is_offered_and_what_is_allowed_is_listed() {
        let told = instead_of_fault("latencyy");
        assert!(told.starts_with("; did you mean latency?; there are latency, first_token, "), "{told}");
        assert!(FAULTS.iter().all(|(name, _)| told.contains(name)), "{told}");
        let told = instead_of_fault("boom");
        assert!(told.starts_with("; there are latency, "), "{told}");
        let check = |fault: &str, unknown: &str, expected: &str| {
            assert_eq!(instead_of_argument(fault, unknown), expected, "{fault};{unknown}");
        };
        check("latency", "mss", "; did you mean ms?; it takes ms, from_ms, to_ms, over_ms");
        check("gap", "pause", "; it takes ms, ping_ms");
        check("hang", "ms", "; it takes no argument");
    }
}
