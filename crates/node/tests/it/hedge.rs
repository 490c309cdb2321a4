//! A second target is asked when the first is late, where the model asks for it and its budget allows.

use meridian_sim::Outcome;
use meridian_types::model::Hedge;
use tokio::time::Instant;

use crate::support::{
    Sandbox, Setup, ask, ask_streamed, configuration, eventually, metric, publish, start_without_configuration,
};

/// Streams after which enough is known of the first target.
const WARM_UP: usize = 24;

/// How late the first target then is: within its deadlines, and far beyond what it took before.
const LATE_MS: u64 = 800;

async fn warm(hedge: Option<Hedge>) -> Sandbox {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    for model in configuration.models.values_mut() {
        model.policy.hedge = hedge;
    }
    publish(&sandbox.node, 1, configuration);
    for model in ["chat", "only"] {
        for _ in 0..WARM_UP {
            assert_eq!(sandbox.chat(ask_streamed(model)).await.status, 200);
        }
    }
    sandbox.break_provider(0, &format!("first_token;ms={LATE_MS}"));
    sandbox
}

async fn hedged(sandbox: &Sandbox, result: &str) -> f64 {
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let counted = metric(&text, "meridian_node_hedges_total");
    counted.get(&format!("{{result=\"{result}\"}}")).copied().unwrap_or_default()
}

fn hedge(budget_percent: u32) -> Option<Hedge> {
    Some(Hedge { budget_percent, max_price_percent: None })
}

#[tokio::test]
async fn the_second_one_serves_and_the_first_is_cancelled_at_once() {
    let sandbox = warm(hedge(50)).await;
    // Warm-up is not free of late ones on a busy machine.
    let (before, won) = (sandbox.seen(0).len(), hedged(&sandbox, "won").await);
    let start = Instant::now();
    let answer = sandbox.chat(ask_streamed("chat")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-provider")), (200, Some("second")));
    assert!(start.elapsed().as_millis() < u128::from(LATE_MS), "sooner than the first: {:?}", start.elapsed());
    assert_eq!(sandbox.seen(0).len(), before + 1, "the first was asked once");
    eventually("cancelled upstream", || sandbox.seen(0).last().unwrap().outcome == Outcome::Cancelled).await;
    assert_eq!(hedged(&sandbox, "won").await, won + 1.0);
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let attempts = metric(&text, "meridian_node_attempts_total");
    assert!(attempts["{provider=\"first\",model=\"up-first\",result=\"outrun\"}"] >= 1.0, "{attempts:?}");
    eventually("its place is free", || {
        sandbox.node.serving().report().targets.iter().all(|target| target.in_flight == 0)
    })
    .await;
    assert!(sandbox.node.serving().report().targets.iter().all(|target| target.failures.is_empty()), "nobody failed");
}

#[tokio::test]
async fn a_second_one_that_fails_leaves_the_first_to_serve() {
    let sandbox = warm(hedge(50)).await;
    sandbox.break_provider(1, "error;status=500");
    let answer = sandbox.chat(ask_streamed("chat")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-provider")), (200, Some("first")));
    let failures = |name: &str| {
        let report = sandbox.node.serving().report();
        report
            .targets
            .iter()
            .filter(|target| target.provider == name)
            .map(|target| target.failures.len())
            .sum::<usize>()
    };
    assert_eq!(failures("second"), 1, "its failure is counted");
}

#[tokio::test]
async fn no_more_than_the_budget_allows() {
    let sandbox = warm(hedge(1)).await;
    for _ in 0..2 {
        let answer = sandbox.chat(ask_streamed("chat")).await;
        assert_eq!(answer.header("x-meridian-provider"), Some("first"));
    }
    assert!(hedged(&sandbox, "no_budget").await >= 2.0);
    assert!(sandbox.seen(1).is_empty());
}

#[tokio::test]
async fn never_unasked_nor_for_whole_answers_nor_with_nobody_to_ask() {
    let sandbox = warm(None).await;
    assert_eq!(sandbox.chat(ask_streamed("chat")).await.header("x-meridian-provider"), Some("first"));
    let sandbox = warm(hedge(50)).await;
    let before = sandbox.seen(1).len();
    assert_eq!(sandbox.chat(ask("chat")).await.header("x-meridian-provider"), Some("first"));
    let alone = sandbox.chat(ask_streamed("only")).await;
    assert_eq!((alone.status.as_u16(), alone.header("x-meridian-attempts")), (200, Some("1")));
    assert_eq!(sandbox.seen(1).len(), before);
}
