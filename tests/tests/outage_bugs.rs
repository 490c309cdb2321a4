//! Each promise of an outage can be broken: by a node with a bug, and without it the same history is clean.

#![expect(clippy::panic, reason = "a test: it fails by panicking")]

use meridian_testkit::EventLog;
use meridian_tests::outage::{Bug, Outage, Play};

const SEED: u64 = 5;

/// The promise that the bug breaks in a history that is clean without it.
#[track_caller]
fn broken(outage: Outage, bug: Bug) -> String {
    let play = Play::of(SEED, outage);
    let log = EventLog::default();
    if let Err(error) = play.run(&log) {
        panic!("without a bug: {error}\n{}", log.lines().join("\n"));
    }
    let log = EventLog::default();
    match play.with(bug).run(&log) {
        Err(error) => error.to_string(),
        Ok(()) => panic!("{bug:?} is not detected:\n{}", log.lines().join("\n")),
    }
}

#[test]
fn a_request_that_is_not_given_to_the_fallback_is_detected() {
    let told = broken(Outage::errors(), Bug::HasNoFallback);
    assert!(told.contains("that another provider could have served"), "{told}");
}

#[test]
fn a_dead_stream_that_ends_silently_is_detected() {
    let told = broken(Outage::cut(), Bug::EndsSilently);
    assert!(told.contains("a stream ends silently after \"Simulated reply"), "{told}");
}

#[test]
fn a_dead_stream_that_says_it_is_complete_is_detected() {
    let told = broken(Outage::cut(), Bug::SaysDone);
    assert!(told.contains("a stream says [DONE] after \"Simulated reply"), "{told}");
}

#[test]
fn a_dead_primary_that_is_asked_again_and_again_is_detected() {
    for outage in [Outage::errors(), Outage::silence()] {
        let told = broken(outage, Bug::ForgetsAlways);
        assert!(told.contains("the primary was asked ") && told.contains(" after its end had begun"), "{told}");
    }
}

#[test]
fn attempts_that_multiply_in_a_total_outage_are_detected() {
    let told = broken(Outage::total(), Bug::ForgetsAlways);
    assert!(told.contains(" requests that nobody could serve"), "{told}");
}

#[test]
fn a_primary_that_does_not_come_back_is_detected() {
    let told = broken(Outage::refused(), Bug::RemembersRefusals);
    assert!(told.contains("the primary is not back 30 s after its recovery"), "{told}");
}

#[test]
fn a_primary_that_comes_back_in_a_burst_is_detected() {
    let told = broken(Outage::errors(), Bug::ForgetsAtRecovery);
    assert!(told.contains("the primary had ") && told.ends_with(" at once when it returned"), "{told}");
}

#[test]
fn a_request_that_is_not_counted_as_what_it_was_is_detected() {
    let told = broken(Outage::errors(), Bug::OverlooksLeaving);
    assert!(told.contains("the node counts "), "{told}");
}

#[test]
fn a_task_that_is_left_behind_is_detected() {
    let told = broken(Outage::errors(), Bug::LeavesTasks);
    assert!(told.contains(" tasks are left behind by a node that has stopped"), "{told}");
}
