//! The order within a tier, as a model's policy says.

use http_body_util::Full;
use meridian_types::model::{Choice, Price};

use crate::support::{Sandbox, Setup, ask, configuration, publish, start_without_configuration};

/// Both providers in one tier of `chat`; `second` is the cheaper one.
async fn one_tier(choice: Choice) -> Sandbox {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    let chat = configuration.models.get_mut("chat").unwrap();
    let mut tier = chat.tiers.concat();
    for (target, micro_usd) in tier.iter_mut().zip([9, 1]) {
        target.price = Some(Price { input_micro_usd: micro_usd, output_micro_usd: micro_usd });
    }
    chat.tiers = vec![tier];
    chat.policy.choice = choice;
    publish(&sandbox.node, 1, configuration);
    sandbox
}

/// Chat requests at each provider after twenty of ours.
async fn asked(sandbox: &Sandbox, session: Option<&str>) -> [usize; 2] {
    let body = ask("chat");
    for _ in 0..20 {
        let mut request = sandbox.request(&body);
        if let Some(session) = session {
            request = request.header("x-meridian-session", session);
        }
        let answer = sandbox.whole(request.body(Full::new(body.to_string().into())).unwrap()).await;
        assert_eq!(answer.status, 200);
    }
    [0, 1].map(|which| sandbox.seen(which).len())
}

#[tokio::test]
async fn by_weight_both_are_asked_and_by_price_or_priority_one_is() {
    let both = asked(&one_tier(Choice::Weighted).await, None).await;
    assert!(both.iter().all(|count| *count > 0), "{both:?}");
    assert_eq!(asked(&one_tier(Choice::LowestCost).await, None).await, [0, 20]);
    assert_eq!(asked(&one_tier(Choice::Priority).await, None).await, [20, 0]);
}

#[tokio::test]
async fn a_session_stays_where_it_is_and_moves_only_when_it_must() {
    let sandbox = one_tier(Choice::Session).await;
    let home = asked(&sandbox, Some("one")).await.iter().position(|count| *count == 20).expect("one provider");
    sandbox.break_provider(home, "error;status=500");
    let moved = asked(&sandbox, Some("one")).await;
    assert_eq!(moved[1 - home], 20, "{moved:?}");
}

#[tokio::test]
async fn the_faster_of_two_is_asked_once_both_are_known() {
    let sandbox = one_tier(Choice::Fastest).await;
    sandbox.break_provider(0, "latency;ms=200");
    let asked = asked(&sandbox, None).await;
    assert!(asked[0] <= 3, "once or so, to learn it: {asked:?}");
}
