//! Scripts: how the attempts end one after the other, and who is asked.

use meridian_llm::FailureClass::{self, Cancelled, Client, ContextLength, Credential, Provider, Saturation, Transport};
use meridian_routing::TargetId;
use proptest::prelude::*;

use super::*;

fn candidate(name: &str) -> Candidate {
    let (model, provider) = name.split_once(':').unwrap();
    let target = TargetId { provider: provider.parse().unwrap(), model: "up".parse().unwrap() };
    Candidate { target, model: model.parse().unwrap(), last_resort: false, prefill: None, price: None }
}

fn failure(class: FailureClass, retry_after_s: Option<u64>) -> Failure {
    let status = matches!(class, Provider).then_some(500);
    Failure { status, retry_after: retry_after_s.map(Duration::from_secs), ..Failure::new(class, "test") }
}

/// Follows the whole way: `provider`, with `$` for a paid leg and `~` for a repetition.
fn walk(candidates: &[&str], failures: &[Failure]) -> Vec<String> {
    let mut itinerary = Itinerary::new(candidates.iter().map(|name| candidate(name)).collect(), false);
    let mut asked = Vec::new();
    while let Some(leg) = itinerary.next() {
        itinerary.ask();
        let (paid, again) = (if leg.paid { "$" } else { "" }, if leg.repeat.is_some() { "~" } else { "" });
        asked.push(format!("{}{paid}{again}", leg.candidate.target.provider));
        let failure = &failures[(asked.len() - 1).min(failures.len() - 1)];
        itinerary.failed(leg, failure);
    }
    asked
}

#[track_caller]
fn check(candidates: &[&str], failures: &[Failure], expected: &[&str]) {
    assert_eq!(walk(candidates, failures), expected);
}

#[test]
fn the_first_failover_is_free_and_later_attempts_are_paid() {
    let dead = [failure(Credential, None)];
    check(&["m:a", "m:b", "m:c", "m:d", "m:e"], &dead, &["a", "b", "c$", "d$"]);
    check(&["m:a"], &dead, &["a"]);
}

#[test]
fn the_same_target_is_asked_again_when_no_other_is_left_and_only_twice() {
    check(&["m:a"], &[failure(Provider, None)], &["a", "a$~", "a$~"]);
    check(&["m:a", "m:b"], &[failure(Provider, None)], &["a", "b", "a$~", "b$~"]);
    check(&["m:a", "m:b"], &[failure(Credential, None), failure(Transport, None)], &["a", "b", "b$~", "b$~"]);
}

#[test]
fn of_two_that_ask_for_rest_the_sooner_one_is_asked_again_and_none_after_a_long_rest() {
    let script = [failure(Saturation, Some(4)), failure(Saturation, Some(2)), failure(Client, None)];
    check(&["m:a", "m:b"], &script, &["a", "b", "b$~"]);
    check(&["m:a"], &[failure(Saturation, Some(6))], &["a"]);
}

#[test]
fn what_is_the_requests_own_ends_the_way() {
    check(&["m:a", "m:b"], &[failure(Client, None)], &["a"]);
    check(&["m:a", "m:b"], &[failure(FailureClass::Refusal, None)], &["a"]);
}

#[test]
fn a_refusal_goes_to_another_provider_only_if_the_policy_says_so() {
    let candidates = ["m:a", "n:a", "m:b"].map(candidate).to_vec();
    let mut itinerary = Itinerary::new(candidates, true);
    let leg = itinerary.next().unwrap();
    itinerary.ask();
    itinerary.failed(leg, &failure(FailureClass::Refusal, None));
    assert_eq!(itinerary.next().unwrap().candidate, candidate("m:b"), "not to the same provider's other model");
}

#[test]
fn a_prompt_that_is_too_long_goes_to_another_model() {
    let script = [failure(ContextLength, None), failure(Client, None)];
    check(&["m:a", "m:b", "large:c"], &script, &["a", "c"]);
}

#[test]
fn a_client_whose_time_is_over_waits_for_nobody() {
    check(&["m:a", "m:b"], &[failure(Cancelled, None)], &["a"]);
}

#[test]
fn nobody_is_asked_again_beside_others() {
    let mut itinerary = Itinerary::new(["m:a", "m:b"].map(candidate).to_vec(), false);
    let leg = itinerary.next().unwrap();
    itinerary.ask();
    itinerary.failed(leg, &failure(Transport, None));
    assert_eq!(itinerary.next_untried().unwrap().candidate, candidate("m:b"));
    assert_eq!(itinerary.next_untried(), None);
    assert_eq!(itinerary.next().unwrap().candidate, candidate("m:a"), "when all others have failed");
}

#[test]
fn who_refuses_to_go_on_with_an_answer_is_left_for_the_next() {
    let mut itinerary = Itinerary::continuing(vec![candidate("m:a"), candidate("m:b")]);
    for name in ["m:a", "m:b"] {
        let leg = itinerary.next().unwrap();
        assert_eq!(leg.candidate, candidate(name));
        itinerary.ask();
        itinerary.failed(leg, &failure(Client, None));
    }
    assert_eq!(itinerary.next(), None, "and not asked again");
}

#[test]
fn a_hedge_is_taken_out_of_its_turn_and_counts_as_an_attempt() {
    let mut itinerary = Itinerary::new(["m:a", "m:b", "m:c", "m:d"].map(candidate).to_vec(), false);
    let first = itinerary.next().unwrap();
    itinerary.ask();
    let is = |name: &'static str| move |other: &Candidate| *other == candidate(name);
    assert_eq!(itinerary.hedge(|_| false), None);
    let hedge = itinerary.hedge(is("m:c")).unwrap();
    assert!(!hedge.paid);
    itinerary.put_back(hedge);
    let hedge = itinerary.hedge(is("m:c")).unwrap();
    itinerary.ask();
    for leg in [first, hedge] {
        itinerary.failed(leg, &failure(Credential, None));
    }
    let next = itinerary.next().unwrap();
    assert_eq!((next.candidate, next.paid), (candidate("m:b"), true), "two were free");
    assert_eq!(itinerary.hedge(is("m:c")), None, "it has been asked");
}

proptest! {
    #[test]
    fn whatever_fails_attempts_are_few_and_all_but_two_are_paid(
        classes in prop::collection::vec(0usize..8, 1..12),
        retry_after in prop::option::of(0u64..10),
        targets in 1usize..8,
    ) {
        let names: Vec<String> = (0..targets).map(|i| format!("m{}:p{i}", i % 2)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let failures: Vec<_> = classes.iter().map(|class| failure(FailureClass::ALL[*class], retry_after)).collect();
        let asked = walk(&names, &failures);
        prop_assert!((1..=MAX_ATTEMPTS).contains(&asked.len()));
        prop_assert!(asked.iter().filter(|leg| !leg.contains('$')).count() <= 2);
        for name in (0..targets).map(|i| format!("p{i}")) {
            let times = asked.iter().filter(|leg| leg.trim_end_matches(['$', '~']) == name).count();
            prop_assert!(times <= 1 + MAX_REPEATS as usize);
        }
    }
}
