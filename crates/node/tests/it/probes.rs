//! Active probes of providers.

use std::time::Duration;

use crate::support::{Setup, ask, configuration, eventually, publish, start_without_configuration};

#[tokio::test]
async fn a_dead_provider_is_found_without_a_request_and_comes_back_by_itself() {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    let first = configuration.providers.values_mut().next().unwrap();
    first.probe_interval = Some(Duration::from_secs(1));
    publish(&sandbox.node, 1, configuration);
    let first = || {
        let report = sandbox.node.serving().report();
        report.targets.into_iter().find(|target| target.provider == "first").unwrap()
    };
    eventually("it is probed", || !sandbox.seen(0).is_empty()).await;
    assert!(sandbox.seen(0).iter().all(|seen| seen.path == "/v1/models"), "{:?}", sandbox.seen(0));
    assert!(sandbox.seen(1).is_empty(), "no interval, no failure: no probe");

    sandbox.break_provider(0, "error;status=500");
    eventually("it is found dead", || first().reason.starts_with("does not answer probes")).await;
    let answer = sandbox.chat(ask("chat")).await;
    assert_eq!(
        (answer.header("x-meridian-provider"), answer.header("x-meridian-attempts")),
        (Some("second"), Some("1"))
    );

    sandbox.sims[0].rules().clear();
    eventually("it may be looked at", || first().available).await;
    for _ in 0..3 {
        assert_eq!(sandbox.chat(ask("chat")).await.status, 200);
    }
    assert!(sandbox.seen(0).iter().any(|seen| seen.method == "POST"), "requests look at it again");
}
