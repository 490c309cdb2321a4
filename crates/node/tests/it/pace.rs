//! A target that begins its answers far later than its peers is left alone, and the others serve.

use std::time::Duration;

use futures::future::join_all;
use meridian_types::model::Choice;

use crate::support::{PATIENCE, Setup, ask_streamed, configuration, metric, publish, start_without_configuration};

#[tokio::test]
async fn the_slow_one_of_a_tier_is_left_alone_with_the_reason() {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    let chat = configuration.models.get_mut("chat").unwrap();
    chat.tiers = vec![chat.tiers.concat()];
    chat.policy.choice = Choice::Weighted;
    publish(&sandbox.node, 1, configuration);
    sandbox.break_provider(0, "first_token;ms=600");
    let end = tokio::time::Instant::now() + PATIENCE;
    let ejected = loop {
        let answers = join_all((0..20).map(|_| sandbox.chat(ask_streamed("chat")))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let report = sandbox.node.serving().report();
        let ejected = report.targets.into_iter().find(|target| target.reason.contains("later than its peers"));
        if let Some(ejected) = ejected {
            break ejected;
        }
        assert!(tokio::time::Instant::now() < end, "never left alone");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((ejected.provider.as_str(), ejected.available), ("first", false), "{ejected:?}");
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let changes = metric(&text, "meridian_node_breaker_changes_total");
    let opened = |name: &str| {
        let labels = format!("{{provider=\"{name}\",model=\"up-{name}\",to=\"opened\",reason=\"slow\"}}");
        changes.get(&labels).copied().unwrap_or_default()
    };
    assert!(opened("first") >= 1.0 && opened("second") == 0.0, "{changes:?}");
}
