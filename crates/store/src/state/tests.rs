//! Steps of the state machine that no battery case reaches.

use super::*;
use crate::{LOG_MAX_BYTES, LOG_MAX_REVISIONS};

fn run(state: &mut State, txn: &Txn) {
    let changes = state.decide(txn).unwrap().unwrap();
    changes.iter().for_each(|change| state.apply(change));
}

#[test]
fn history_beyond_the_number_of_revisions_is_forgotten_and_says_so() {
    let mut state = State::new();
    for _ in 0..LOG_MAX_REVISIONS + 3 {
        run(&mut state, &Txn::new().put("/a", "x"));
    }
    // Revisions 2, 3 and 4 are gone.
    assert_eq!(state.compacted(), Revision(5));
    assert!(matches!(state.changes_since("/a", Revision(4)), Err(Error::Compacted { at: Revision(5) })));
    assert_eq!(state.changes_since("/a", Revision(5)).unwrap().unwrap().revision, Revision(5));
}

#[test]
fn history_beyond_the_number_of_bytes_is_forgotten_but_the_newest_write_stays() {
    let mut state = State::new();
    let value = vec![0_u8; LOG_MAX_BYTES / 10];
    for _ in 0..20 {
        run(&mut state, &Txn::new().put("/a", value.clone()));
    }
    assert!(state.compacted() > Revision(11) && state.compacted() <= state.revision());
    assert!(state.changes_since("/a", state.revision()).unwrap().is_some());
}

#[test]
fn the_same_changes_lead_to_the_same_state_also_after_a_restore() {
    let mut state = State::new();
    let (lease, grant) = state.decide_grant(Duration::from_secs(5));
    state.apply(&grant);
    run(&mut state, &Txn::new().put_with_lease("/a", "1", lease).put_with_lease("/b", "2", lease).put("/c", "3"));
    run(&mut state, &Txn::new().put("/a", "4"));
    let history: Vec<_> = (2..=3).map(|n| state.changes_since("", Revision(n)).unwrap().unwrap()).collect();
    let mut restored = State::restore(
        state.revision(),
        state.list("").entries,
        vec![(lease, Duration::from_secs(5))],
        state.last_lease(),
        state.compacted(),
        history,
    );
    for state in [&mut state, &mut restored] {
        // Only /b is still the lease's.
        let end = state.decide_end(lease).unwrap();
        end.iter().for_each(|change| state.apply(change));
        assert!(matches!(state.decide_end(lease), Err(Error::LeaseGone)));
        assert_ne!(state.decide_grant(Duration::from_secs(1)).0, lease);
    }
    assert_eq!(state.list(""), restored.list(""));
    assert_eq!(state.list("").entries.len(), 2);
    assert_eq!(state.changes_since("", Revision(4)).unwrap(), restored.changes_since("", Revision(4)).unwrap());
}
