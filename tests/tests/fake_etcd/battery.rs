//! Every case of the conformance battery, in simulated time.

use crate::sandbox::simulated;

macro_rules! cases {
    ($($case:ident)*) => {
        const CASES: &[&str] = &[$(stringify!($case)),*];
        $(
            #[test]
            fn $case() {
                simulated(|mut faked| Box::pin(async move { meridian_store::battery::$case(&mut faked).await }));
            }
        )*
    };
}

cases!(
    lists_sorted_entries_with_their_revision
    counts_creation_writes_and_versions
    isolates_prefixes
    creates_only_what_is_absent
    refuses_a_lost_update
    fences_by_create_revision
    applies_a_transaction_whole_and_under_one_revision
    does_not_move_when_nothing_changes
    refuses_transactions_that_make_no_sense
    lets_one_of_many_concurrent_writers_win_each_step
    replays_from_a_past_revision
    waits_for_a_future_revision
    watches_without_gap_or_repeat_under_concurrent_writers
    delivers_only_the_watched_prefix
    refuses_to_watch_from_before_a_compaction
    is_not_held_up_by_a_watcher_that_does_not_read
    ends_a_lease_that_nobody_renews_and_deletes_its_keys
    keeps_a_lease_that_is_renewed
    revokes_a_lease_at_once
    keeps_a_key_that_left_its_lease
    keeps_data_identity_and_history_over_a_restart
    keeps_a_lease_over_a_restart
    lets_a_follower_converge_over_restart_and_compaction
    stores_the_largest_value
    lists_many_keys_as_of_one_revision
);

#[test]
fn no_case_of_the_battery_is_left_out() {
    // The battery's own macro makes asynchronous tests; a simulation wants to run them itself.
    let source = include_str!("../../../crates/store/src/battery/mod.rs");
    let list = source.split("(@cases $make, #[$attr]").nth(1).and_then(|rest| rest.split(");").next()).unwrap();
    assert_eq!(list.split_whitespace().collect::<Vec<_>>(), CASES);
}
