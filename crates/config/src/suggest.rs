//! "Did you mean".

/// Two letters wrong in a longer word, one in a short one: further away it is a guess.
fn is_near(distance: usize, word: &str) -> bool {
    distance <= if word.len() > 4 { 2 } else { 1 }
}

/// The one of `allowed` that was probably meant.
pub(crate) fn nearest<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let lower = folded(word);
    let scored =
        allowed.into_iter().map(|candidate| (strsim::damerau_levenshtein(&lower, &folded(candidate)), candidate));
    scored.filter(|(distance, _)| is_near(*distance, word)).min().map(|(_, candidate)| candidate)
}

/// `; did you mean X? allowed: X, Y` if something is near, else `; allowed: X, Y`: goes behind what is unknown.
pub(crate) fn allowed(word: &str, names: &[&str]) -> String {
    let hint = nearest(word, names.iter().copied()).map(|name| format!(" did you mean {name}?")).unwrap_or_default();
    format!(";{hint} allowed: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_recognised_and_guesses_are_not_made() {
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(nearest(word, ["weight", "provider", "ttl", "max_in_flight"]), expected, "{word}");
        };
        check("wieght", Some("weight"));
        check("maxInFlight", Some("max_in_flight"));
        check("provders", Some("provider"));
        check("tll", Some("ttl"));
        check("url", None);
        check("completely", None);
    }

    #[test]
    fn what_is_allowed_is_set_apart_from_what_is_not() {
        assert_eq!(allowed("tll", &["ttl", "name"]), "; did you mean ttl? allowed: ttl, name");
        assert_eq!(allowed("colour", &["ttl", "name"]), "; allowed: ttl, name");
    }
}
