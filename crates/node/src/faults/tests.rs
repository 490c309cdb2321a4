//! Which calls are struck, and until when.

use meridian_proto::fleet::v1::{FaultSpec, InjectedFault, fault_spec::Kind};
use proptest::prelude::*;

use super::*;

fn region(name: &str) -> RegionName {
    name.parse().unwrap()
}

fn target(provider: &str, model: &str) -> TargetId {
    TargetId { provider: provider.parse().unwrap(), model: model.parse().unwrap() }
}

fn active(id: &str, spec: FaultSpec, left_ms: u32) -> v1::ActiveFault {
    let fault = InjectedFault { id: id.to_owned(), spec: Some(spec), ..InjectedFault::default() };
    v1::ActiveFault { fault: Some(fault), left_ms }
}

fn spec(provider: &str, model: &str, region: &str) -> FaultSpec {
    let [provider, model, region] = [provider, model, region].map(str::to_owned);
    FaultSpec { provider, model, region, share_permille: 1000, kind: Some(Kind::ErrorStatus(503)) }
}

fn holding(revision: u64, faults: Vec<v1::ActiveFault>) -> Faults {
    let held = Faults::default();
    held.replace(&v1::FaultList { epoch: 0, revision, faults }, &region("eu"));
    held
}

#[tokio::test(start_paused = true)]
async fn a_fault_strikes_what_it_names_and_nothing_else() {
    let check = |spec: FaultSpec, struck: [bool; 3], probe: bool| {
        let held = holding(1, vec![active("f", spec.clone(), 1000)]);
        let targets = [target("a", "x"), target("a", "y"), target("b", "x")];
        assert_eq!(targets.map(|target| held.strike(&target, || 0.5).is_some()), struck, "{spec:?}");
        assert_eq!(held.fails_probe("a", || 0.5), probe, "{spec:?}");
    };
    check(spec("a", "x", ""), [true, false, false], false);
    check(spec("a", "", ""), [true, true, false], true);
    check(spec("a", "", "eu"), [true, true, false], true);
    check(spec("a", "", "us"), [false; 3], false);
    check(spec("", "", "eu"), [true; 3], true);
    check(FaultSpec { kind: Some(Kind::ErrorStatus(429)), ..spec("a", "", "") }, [true, true, false], false);
    check(FaultSpec { kind: Some(Kind::LatencyMs(5)), ..spec("a", "", "") }, [true, true, false], false);
    check(FaultSpec { kind: None, ..spec("a", "", "") }, [false; 3], false);
}

#[tokio::test(start_paused = true)]
async fn it_ends_by_itself_and_an_older_list_does_not_bring_it_back() {
    let held = holding(5, vec![active("f", spec("a", "", ""), 1000)]);
    let is_struck = |held: &Faults| held.strike(&target("a", "x"), || 0.0).is_some();
    assert!(is_struck(&held));
    tokio::time::advance(Duration::from_millis(999)).await;
    // A replica repeats what it said first: that prolongs nothing.
    held.replace(
        &v1::FaultList { epoch: 0, revision: 5, faults: vec![active("f", spec("a", "", ""), 1000)] },
        &region("eu"),
    );
    assert!(is_struck(&held));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!is_struck(&held));

    let held = holding(5, vec![active("f", spec("a", "", ""), 1000)]);
    held.replace(&v1::FaultList { epoch: 0, revision: 6, faults: Vec::new() }, &region("eu"));
    assert!(!is_struck(&held), "ended by an operator");
    held.replace(
        &v1::FaultList { epoch: 0, revision: 5, faults: vec![active("f", spec("a", "", ""), 1000)] },
        &region("eu"),
    );
    assert!(!is_struck(&held), "the one that lags is not obeyed");
    // After a restore revisions begin anew.
    held.replace(
        &v1::FaultList { epoch: 1, revision: 2, faults: vec![active("g", spec("a", "", ""), 1000)] },
        &region("eu"),
    );
    assert!(is_struck(&held));
}

#[tokio::test(start_paused = true)]
async fn nothing_lasts_longer_than_an_hour_and_there_are_sixteen_at_most() {
    let held = holding(1, vec![active("f", spec("a", "", ""), u32::MAX)]);
    tokio::time::advance(MAX_LIFE).await;
    assert_eq!(held.strike(&target("a", "x"), || 0.0), None);
    let many = (0..100).map(|i| active(&format!("f{i}"), spec("a", &format!("m{i}"), ""), 1000)).collect();
    let held = holding(1, many);
    assert!(held.strike(&target("a", "m15"), || 0.0).is_some());
    assert_eq!(held.strike(&target("a", "m16"), || 0.0), None);
}

proptest! {
    /// Of many calls the share that was asked for is struck.
    #[test]
    fn the_share_is_kept(share_permille in 1u32..=1000, seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let held = holding(1, vec![active("f", FaultSpec { share_permille, ..spec("a", "", "") }, 1000)]);
        let mut state = seed;
        // SplitMix64: https://prng.di.unimi.it/splitmix64.c
        let mut unit = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        const CALLS: u32 = 4000;
        let struck = (0..CALLS).filter(|_| held.strike(&target("a", "x"), &mut unit).is_some()).count() as f64;
        let expected = f64::from(CALLS) * f64::from(share_permille) / 1000.0;
        // Six standard deviations.
        let sigma = (expected * (1.0 - f64::from(share_permille) / 1000.0)).sqrt();
        prop_assert!((struck - expected).abs() <= 6.0 * sigma + 1.0, "{} of {}", struck, expected);
    }
}
