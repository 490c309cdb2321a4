//! Active probes of providers.

use futures::future::join_all;
use meridian_sim::{Match, Rule};
use meridian_types::provider::ProbeKind;

use crate::support::{
    PATIENCE, Sandbox, Setup, ask, configuration, eventually, every_second, metric, publish,
    start_without_configuration,
};

#[tokio::test]
async fn a_dead_provider_is_found_without_a_request_and_comes_back_by_itself() {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    let first = configuration.providers.values_mut().next().unwrap();
    first.probe = every_second(ProbeKind::Models);
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

/// A node whose provider `first` is probed in this way, with a fault in what it answers under `path`.
async fn probed(kind: ProbeKind, path: &str, fault: &str) -> Sandbox {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let matches = Match { path: Some(path.to_owned()), ..Match::default() };
    let rule = Rule { name: "test".to_owned(), matches, fault: fault.to_owned(), count: None, probability: None };
    sandbox.sims[0].rules().put(rule).unwrap();
    let mut configuration = configuration(&setup, addresses);
    configuration.providers.values_mut().next().unwrap().probe = every_second(kind);
    publish(&sandbox.node, 1, configuration);
    sandbox
}

fn is_available(sandbox: &Sandbox) -> bool {
    let report = sandbox.node.serving().report();
    report.targets.into_iter().find(|target| target.provider == "first").unwrap().available
}

/// Probes of `first` by result, once there are enough for a verdict.
async fn results(sandbox: &Sandbox) -> Vec<(String, bool)> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
        let counted = metric(&text, "meridian_node_provider_probes_total");
        if counted.values().sum::<f64>() >= 4.0 {
            return counted.into_iter().map(|(labels, count)| (labels, count >= 4.0)).collect();
        }
        assert!(tokio::time::Instant::now() < end, "{counted:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn each_kind_of_probe_finds_what_it_asks_for_and_takes_no_healthy_provider_out() {
    let (models, connect) = (ProbeKind::Models, ProbeKind::Connect);
    let completion = || ProbeKind::Completion("small".parse().unwrap());
    let cases = [
        (models.clone(), "*", "error;status=404", "good", true),
        (models.clone(), "*", "error;status=429", "good", true),
        // The list is answered and the models are dead: who wants to know that asks for a completion.
        (models, "/v1/chat/completions", "error;status=500", "good", true),
        (completion(), "/v1/chat/completions", "error;status=500", "bad", false),
        (completion(), "*", "error;status=404", "unclear", true),
        (completion(), "*", "error;status=429", "unclear", true),
        (connect, "*", "error;status=500", "good", true),
    ];
    join_all(cases.map(|(kind, path, fault, result, available)| async move {
        let sandbox = probed(kind.clone(), path, fault).await;
        let expected = vec![(format!("{{provider=\"first\",result=\"{result}\"}}"), true)];
        assert_eq!(results(&sandbox).await, expected, "{kind:?} {fault}");
        assert_eq!(is_available(&sandbox), available, "{kind:?} {fault}");
        let seen = sandbox.seen(0);
        match kind {
            ProbeKind::Models => assert!(seen.iter().all(|seen| seen.path == "/v1/models"), "{seen:?}"),
            ProbeKind::Connect => assert!(seen.is_empty(), "{seen:?}"),
            ProbeKind::Completion(_) => {
                assert!(seen.iter().all(|seen| seen.body.as_ref().unwrap()["max_completion_tokens"] == 1), "{seen:?}")
            }
        }
    }))
    .await;
}

#[tokio::test]
async fn a_provider_whose_models_were_dead_is_let_in_again_by_completions() {
    let model = "small".parse().unwrap();
    let sandbox = probed(ProbeKind::Completion(model), "/v1/chat/completions", "error;status=500").await;
    eventually("it is found dead", || !is_available(&sandbox)).await;
    sandbox.sims[0].rules().clear();
    eventually("it may be looked at", || is_available(&sandbox)).await;
}
