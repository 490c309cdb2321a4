//! What operators override about a region: a drain and a weight, each with an author, a reason and an end of its own.
//!
//! They share one document, whose revision tells a change that was decided on something older from a lost update.

use meridian_proto::admin::v1::set_override_request::Change;
use meridian_proto::fleet::v1::OverrideTerms;
use meridian_proto::store::v1 as stored;
use meridian_types::region::MAX_WEIGHT;

use crate::lead::time;
use crate::store::document::FORM;

/// What holds at some time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct InForce<'a> {
    pub(crate) drain: Option<&'a OverrideTerms>,
    pub(crate) weight: Option<(u32, &'a OverrideTerms)>,
}

impl<'a> InForce<'a> {
    /// Of a document, without what has ended by then.
    pub(crate) fn of(document: &'a stored::Override, now_unix_ms: i64) -> Self {
        let holds = |terms: &&OverrideTerms| terms.until_unix_ms == 0 || now_unix_ms < terms.until_unix_ms;
        let weight = document.weight.zip(document.weight_terms.as_ref());
        Self { drain: document.drain.as_ref().filter(holds), weight: weight.filter(|(_, terms)| holds(terms)) }
    }

    /// One text for each, for people.
    pub(crate) fn texts(&self) -> Vec<String> {
        let drained = self.drain.map(|terms| format!("drained {}", by(terms)));
        let weighed = self.weight.map(|(weight, terms)| format!("weight {weight} set {}", by(terms)));
        drained.into_iter().chain(weighed).collect()
    }
}

/// By whom, why and until when.
pub(crate) fn by(terms: &OverrideTerms) -> String {
    let until = match terms.until_unix_ms {
        0 => String::new(),
        until => format!(", until {}", time(until)),
    };
    let reason = if terms.reason.is_empty() { "no reason given" } else { &terms.reason };
    format!("by {}: {reason}{until}", terms.author)
}

/// The document after a change that was made at `terms.made_at_unix_ms`, and what was done, in a word or two. The part
/// that the change does not name stays as it is, unless it has ended: that does not come back to life.
///
/// # Errors
/// Says what is wrong with the request.
pub(crate) fn change(
    held: &stored::Override,
    region: &str,
    change: Option<Change>,
    terms: OverrideTerms,
) -> Result<(stored::Override, String), String> {
    let now = terms.made_at_unix_ms;
    let (author, reason, until) = (terms.author.clone(), terms.reason.clone(), terms.until_unix_ms);
    let before = InForce::of(held, now);
    let mut drain = before.drain.cloned();
    let mut weight = before.weight.map(|(weight, terms)| (weight, terms.clone()));
    let what = match change {
        Some(Change::Drained(false) | Change::ClearWeight(true)) if until != 0 => {
            return Err("until_unix_ms goes with a drain or a weight, not with the end of one".to_owned());
        }
        _ if until != 0 && until <= now => {
            return Err(
                "the end (until_unix_ms) must be in the future; without one it holds until it is removed".to_owned()
            );
        }
        Some(Change::Drained(true)) => {
            drain = Some(terms);
            "drained".to_owned()
        }
        Some(Change::Drained(false)) => {
            drain = None;
            "undrained".to_owned()
        }
        Some(Change::Weight(wanted)) if wanted > MAX_WEIGHT => {
            return Err(format!("weight must be 0 to {MAX_WEIGHT}"));
        }
        Some(Change::Weight(wanted)) => {
            weight = Some((wanted, terms));
            format!("weight {wanted}")
        }
        Some(Change::ClearWeight(true)) => {
            weight = None;
            "declared weight".to_owned()
        }
        Some(Change::ClearWeight(false)) | None => {
            return Err("change must be one of drained, weight, clear_weight: true".to_owned());
        }
    };
    let (weight, weight_terms) = weight.unzip();
    let region = region.to_owned();
    let document =
        stored::Override { form: FORM, region, weight, author, reason, made_at_unix_ms: now, drain, weight_terms };
    Ok((document, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Step `number` of a story: who, until when (0: for ever), what. It is made at that time, by an author of its own.
    type Step = (i64, Change, i64);

    /// What holds at `now` after the steps.
    fn told(steps: &[Step], now: i64) -> Vec<(String, String, i64)> {
        let mut document = stored::Override::default();
        for (at, wanted, until) in steps {
            let terms = OverrideTerms {
                author: format!("op{at}"),
                reason: format!("r{at}"),
                made_at_unix_ms: *at,
                until_unix_ms: *until,
            };
            document = change(&document, "eu", Some(*wanted), terms).unwrap().0;
            assert_eq!((document.author.as_str(), document.made_at_unix_ms), (format!("op{at}").as_str(), *at));
        }
        let held = InForce::of(&document, now);
        let drain = held.drain.map(|terms| ("drained".to_owned(), terms));
        let weight = held.weight.map(|(weight, terms)| (format!("weight {weight}"), terms));
        let tell = |(what, terms): (String, &OverrideTerms)| {
            assert_eq!(terms.reason, terms.author.replace("op", "r"), "a reason goes with its author");
            (what, terms.author.clone(), terms.until_unix_ms)
        };
        drain.into_iter().chain(weight).map(tell).collect()
    }

    #[test]
    fn a_drain_and_a_weight_begin_and_end_without_each_other() {
        let (drain, undrain) = (Change::Drained(true), Change::Drained(false));
        let (weigh, clear) = (Change::Weight(50), Change::ClearWeight(true));
        // After what at which time: the drain's step and end, the weight's step and end; step 0: none.
        let check = |steps: &[Step], now: i64, drained: (i64, i64), weighed: (i64, i64)| {
            let part = |what: &str, (step, until): (i64, i64)| {
                (step != 0).then(|| (what.to_owned(), format!("op{step}"), until))
            };
            let expected: Vec<_> = part("drained", drained).into_iter().chain(part("weight 50", weighed)).collect();
            assert_eq!(told(steps, now), expected, "{steps:?} at {now}");
        };
        let none = (0, 0);
        check(&[], 9, none, none);
        check(&[(1, drain, 0)], 9, (1, 0), none);
        check(&[(1, weigh, 0)], 9, none, (1, 0));
        check(&[(1, undrain, 0)], 9, none, none);
        check(&[(1, clear, 0)], 9, none, none);
        // Each ends at its own time, and not a moment before.
        check(&[(1, drain, 5)], 4, (1, 5), none);
        check(&[(1, drain, 5)], 5, none, none);
        check(&[(1, weigh, 5)], 4, none, (1, 5));
        check(&[(1, weigh, 5)], 5, none, none);
        for (first, second) in [((1, drain), (2, weigh)), ((1, weigh), (2, drain))] {
            // Which step made the drain, and which the weight.
            let (d, w) = if first.1 == drain { (1, 2) } else { (2, 1) };
            let pair = |drain_until: i64, weigh_until: i64| {
                let until = |step: i64| if step == d { drain_until } else { weigh_until };
                [(first.0, first.1, until(1)), (second.0, second.1, until(2))]
            };
            let then = |drain_until: i64, weigh_until: i64, step: Step| {
                let [one, two] = pair(drain_until, weigh_until);
                [one, two, step]
            };
            check(&pair(0, 0), 9, (d, 0), (w, 0));
            check(&pair(0, 5), 4, (d, 0), (w, 5));
            check(&pair(0, 5), 5, (d, 0), none);
            check(&pair(5, 0), 4, (d, 5), (w, 0));
            check(&pair(5, 0), 5, none, (w, 0));
            check(&pair(5, 6), 5, none, (w, 6));
            check(&pair(6, 5), 5, (d, 6), none);
            check(&pair(5, 5), 5, none, none);
            // The end of one leaves the terms of the other.
            check(&then(0, 5, (3, undrain, 0)), 4, none, (w, 5));
            check(&then(0, 5, (3, undrain, 0)), 5, none, none);
            check(&then(5, 0, (3, clear, 0)), 4, (d, 5), none);
            check(&then(5, 0, (3, clear, 0)), 5, none, none);
            // So does another one of the same.
            check(&then(5, 6, (3, drain, 0)), 5, (3, 0), (w, 6));
            check(&then(5, 6, (3, drain, 0)), 6, (3, 0), none);
            check(&then(5, 6, (3, weigh, 0)), 4, (d, 5), (3, 0));
            check(&then(5, 6, (3, weigh, 0)), 5, none, (3, 0));
            // What has ended stays ended.
            check(&then(0, 4, (5, drain, 0)), 9, (5, 0), none);
            check(&then(4, 0, (5, weigh, 0)), 9, none, (5, 0));
            check(&then(4, 0, (5, undrain, 0)), 9, none, (w, 0));
            check(&then(0, 4, (5, clear, 0)), 9, (d, 0), none);
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let check = |wanted: Option<Change>, until_unix_ms: i64, expected: &str| {
            let terms = OverrideTerms { made_at_unix_ms: 7, until_unix_ms, ..OverrideTerms::default() };
            let refused = change(&stored::Override::default(), "eu", wanted, terms).unwrap_err();
            assert!(refused.contains(expected), "{wanted:?}: {refused}");
        };
        check(None, 0, "change must be one of");
        check(Some(Change::ClearWeight(false)), 0, "change must be one of");
        check(Some(Change::Weight(MAX_WEIGHT + 1)), 0, "weight must be 0 to");
        check(Some(Change::Drained(true)), 7, "in the future");
        check(Some(Change::Drained(false)), 9, "not with the end of one");
        check(Some(Change::ClearWeight(true)), 9, "not with the end of one");
    }

    #[test]
    fn each_is_told_with_its_own_terms() {
        let terms = |author: &str, reason: &str, until_unix_ms| OverrideTerms {
            author: author.to_owned(),
            reason: reason.to_owned(),
            made_at_unix_ms: 1,
            until_unix_ms,
        };
        let document = stored::Override {
            drain: Some(terms("alice", "kernel", 0)),
            weight: Some(50),
            weight_terms: Some(terms("bob", "", 1_795_262_400_000)),
            ..stored::Override::default()
        };
        let expected =
            ["drained by alice: kernel", "weight 50 set by bob: no reason given, until 2026-11-21T12:00:00Z"];
        assert_eq!(InForce::of(&document, 2).texts(), expected);
    }
}
