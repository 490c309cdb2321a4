//! What other regions are known to find down: who is asked then.

use meridian_proto::fleet::v1::UpstreamOutage;
use meridian_proto::node::v1::{FindRequest, OutageList, Query, query, reply};

use super::places::{FAR, HOME, NEAR, Places};
use crate::support::{Setup, Whole, ask};

/// Tells the node at home from where both targets of `chat` are down; no region: from nowhere.
fn tell(places: &Places, revision: u64, everywhere: bool, regions: &[&str]) {
    let outage = |name: &str| UpstreamOutage {
        provider: name.to_owned(),
        model: format!("up-{name}"),
        everywhere,
        regions: regions.iter().map(ToString::to_string).collect(),
        ..UpstreamOutage::default()
    };
    let outages = if regions.is_empty() { Vec::new() } else { ["first", "second"].map(outage).to_vec() };
    places.all[HOME].node.serving().outages(&OutageList { epoch: 1, revision, outages });
}

/// Why planned targets were not asked.
async fn passed_over(places: &Places, answer: &Whole) -> Vec<String> {
    let request_id = answer.header("x-request-id").unwrap().to_owned();
    let question = query::Question::FindRequest(FindRequest { request_id });
    let reply = places.all[HOME].node.serving().answer(Query { id: 1, question: Some(question) }).await;
    let Some(reply::Answer::FoundRequest(found)) = reply.answer else { panic!("{reply:?}") };
    found.records[0].passed_over.iter().map(|passed| format!("{}: {}", passed.target, passed.why)).collect()
}

#[tokio::test]
async fn who_cannot_serve_either_is_asked_last_and_nobody_while_the_upstreams_are_down_everywhere() {
    let places = Places::start(Setup::default()).await;
    places.break_region(HOME, "error;status=500");
    tell(&places, 1, false, &["home", "near"]);
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-region")), (200, Some("far")));
    let why = passed_over(&places, &answer).await;
    assert!(why.iter().any(|why| why.ends_with("from other regions too: they are asked last")), "{why:?}");
    assert!(places.seen(NEAR).is_empty());

    tell(&places, 2, true, &["home", "near", "far"]);
    let before = places.seen(FAR).len();
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert!(answer.status.is_server_error(), "{}", answer.status);
    assert!(places.seen(NEAR).is_empty() && places.seen(FAR).len() == before, "an outage multiplies nothing");
    let why = passed_over(&places, &answer).await;
    assert!(why.iter().any(|why| why.ends_with("down everywhere: no other region is asked")), "{why:?}");

    // A replica that lags; then it is over.
    tell(&places, 1, false, &[]);
    assert!(places.chat(HOME, ask("chat"), &[]).await.status.is_server_error());
    tell(&places, 3, false, &[]);
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-region")), (200, Some("near")));
    assert!(passed_over(&places, &answer).await.iter().all(|why| !why.contains("known to be down")));
}

#[tokio::test]
async fn what_is_told_of_one_target_keeps_nobody_from_being_asked_for_the_other() {
    let places = Places::start(Setup::default()).await;
    places.break_region(HOME, "error;status=500");
    let outage = UpstreamOutage {
        provider: "first".to_owned(),
        model: "up-first".to_owned(),
        everywhere: true,
        regions: vec!["far".to_owned(), "home".to_owned(), "near".to_owned()],
        ..UpstreamOutage::default()
    };
    places.all[HOME].node.serving().outages(&OutageList { epoch: 1, revision: 1, outages: vec![outage] });
    assert!(places.chat(HOME, ask("only"), &[]).await.status.is_server_error());
    assert!(places.seen(NEAR).is_empty());
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-region")), (200, Some("near")));
}
