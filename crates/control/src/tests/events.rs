//! Events, explanations, rehearsals.

use meridian_proto::admin::v1::watch_events_response::Message;
use meridian_proto::admin::v1::{self as admin, event::Kind, explain_request::Subject, supposition::What};
use meridian_proto::fleet::v1::{LeftOut, NodeVerdict, RegionState};
use meridian_store::memory::MemoryStore;
use meridian_store::{Store, Txn};
use tonic::{Code, Streaming};

use super::fleet::nodes;
use super::sandbox::{LIMIT, Replica, apply, everything, region, shown, weights};

/// The nodes are known to serve, also in the store.
fn all_serve(fleet: &admin::Fleet) -> bool {
    let serves = |node: &admin::FleetNode| node.verdict() == NodeVerdict::Serving;
    weights(fleet) == [334, 333, 333] && fleet.nodes.len() == 3 && fleet.nodes.iter().all(serves)
}

pub(super) type Watch = Streaming<admin::WatchEventsResponse>;

pub(super) async fn watch(replica: &mut Replica, cursor: &str) -> Watch {
    let request = admin::WatchEventsRequest { cursor: cursor.to_owned() };
    replica.admin.watch_events(request).await.unwrap().into_inner()
}

async fn next(watch: &mut Watch) -> (String, Option<Message>) {
    let response = tokio::time::timeout(LIMIT, watch.message()).await.expect("nothing came").unwrap().unwrap();
    (response.cursor, response.message)
}

/// Reads on until an event is `wanted`; it and every event before it, with cursors.
pub(super) async fn until(
    watch: &mut Watch,
    wanted: impl Fn(Kind, &admin::Event) -> bool,
) -> Vec<(String, admin::Event)> {
    let mut seen = Vec::new();
    loop {
        if let (cursor, Some(message)) = next(watch).await {
            let Message::Event(event) = message else { panic!("a gap: {message:?}") };
            let found = wanted(event.kind(), &event);
            seen.push((cursor, event));
            if found {
                return seen;
            }
        }
    }
}

#[tokio::test]
async fn every_change_is_an_event_with_its_reason_and_another_replica_goes_on_from_the_cursor() {
    let store = MemoryStore::new(1);
    let mut one = Replica::start(&store, "cp-1").await;
    one.apply(apply(0, everything(), Vec::new())).await;
    let mut two = Replica::start(&store, "cp-2").await;
    let mut fleet = nodes(&two).await;
    // One leads and sees no pulses: let two, which does, lead.
    let mut events = watch(&mut two, "").await;
    let (start, message) = next(&mut events).await;
    assert_eq!(message, None, "the cursor comes first");
    one.stop().await;
    two.fleet_with("all serve", all_serve).await;
    let mut three = Replica::start(&store, "cp-3").await;
    two.drain("us", true).await.unwrap();
    let drained = |kind, event: &admin::Event| {
        (kind, event.subject.as_str()) == (Kind::Region, "us") && event.text.contains("-> drained")
    };
    let seen = until(&mut events, drained).await;
    let of = |kind: Kind| seen.iter().map(|(_, event)| event).filter(move |event| event.kind() == kind);
    assert_eq!(of(Kind::Leader).next_back().unwrap().text, "plans now");
    assert_eq!(of(Kind::Override).next().unwrap().text, "drained by anonymous@127.0.0.1: maintenance");
    assert!(of(Kind::Node).any(|event| event.subject == "n-eu" && event.text.contains("-> serving: ")));
    assert!(of(Kind::Plan).all(|event| !event.text.is_empty()));
    assert!(seen.iter().all(|(_, event)| event.at_unix_ms > 0));

    // The replica dies in the middle; another one, which has been there, goes on without loss or repeat.
    let at = seen.iter().position(|(_, event)| event.kind() == Kind::Override).unwrap();
    let mut again = watch(&mut three, &seen[at].0).await;
    let continued = until(&mut again, drained).await;
    let names = |events: &[(String, admin::Event)]| -> Vec<(String, String)> {
        events.iter().map(|(cursor, event)| (cursor.clone(), event.text.clone())).collect()
    };
    assert_eq!(names(&continued), names(&seen[at + 1..]));
    two.kill();
    fleet.clear();
    let last = continued.last().unwrap().0.clone();
    three.fleet_with("the next one leads", |fleet| fleet.leader == "cp-3").await;
    let led = until(&mut again, |kind, event| (kind, event.text.as_str()) == (Kind::Leader, "plans now")).await;
    assert!(led[0].0 > last || led[0].0.len() > last.len());

    // A replica that started later cannot know what was before: it says so instead of going on silently.
    let mut four = Replica::start(&store, "cp-4").await;
    let mut late = watch(&mut four, &start).await;
    let (cursor, message) = next(&mut late).await;
    assert!(matches!(message, Some(Message::ResyncRequired(_))), "{message:?}");
    four.apply(apply(1, vec![region("us", 9.0)], Vec::new())).await;
    let seen = until(&mut late, |kind, _| kind == Kind::Commit).await;
    assert_eq!(seen.last().unwrap().1.text, "head 1 -> 2 by anonymous@127.0.0.1: test");
    assert_ne!(seen.last().unwrap().0, cursor);
    for cursor in ["nonsense", "1-2-3"] {
        let request = admin::WatchEventsRequest { cursor: cursor.to_owned() };
        assert_eq!(four.admin.watch_events(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    // A replica may lag, but no cursor comes from beyond the store: that one was put back.
    let newest: Vec<&str> = seen.last().unwrap().0.split('-').collect();
    let mut beyond = watch(&mut four, &format!("{}-{}-99999999-0", newest[0], newest[1])).await;
    let (cursor, message) = next(&mut beyond).await;
    assert!(matches!(message, Some(Message::ResyncRequired(why)) if why.contains("later state than the store")));
    assert!(!cursor.contains("99999999"), "it goes on from here: {cursor}");
    // Another store's cursor is none of ours.
    let mut foreign = watch(&mut four, "9-0-5-0").await;
    assert!(matches!(next(&mut foreign).await.1, Some(Message::ResyncRequired(_))));
    four.stop().await;
}

#[tokio::test]
async fn what_a_node_did_while_nobody_planned_is_told_once_with_its_own_times() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let nodes = nodes(&replica).await;
    replica.fleet_with("all serve", all_serve).await;
    let mut events = watch(&mut replica, "").await;
    let left_out = |until_unix_ms| LeftOut { region: "eu".to_owned(), since_unix_ms: 1000, until_unix_ms };
    let is = |kind: Kind, event: &admin::Event| kind == Kind::Region && event.text.starts_with("left out");
    nodes[2].say(|words| words.left_out = vec![left_out(0)]);
    let begun = until(&mut events, is).await.pop().unwrap().1;
    assert_eq!((begun.subject.as_str(), begun.at_unix_ms), ("eu", 1000));
    assert_eq!(begun.text, "left out of the DNS answers of n-us, by agreement of the nodes: nobody planned");
    // It is silent for a while, and says it again.
    nodes[2].say(|words| words.stopped = true);
    let is_silent = |fleet: &admin::Fleet| !fleet.nodes.iter().all(|node| node.verdict() == NodeVerdict::Serving);
    replica.fleet_with("n-us is silent", is_silent).await;
    nodes[2].say(|words| words.stopped = false);
    replica.fleet_with("it is back", all_serve).await;
    nodes[2].say(|words| words.left_out = vec![left_out(23_400)]);
    let ended = until(&mut events, is).await.pop().unwrap().1;
    assert_eq!((ended.subject.as_str(), ended.at_unix_ms), ("eu", 23_400));
    assert_eq!(ended.text, "left out of the DNS answers of n-us by agreement no longer, after 22 s: the plan decides");
    // What was begun by a process that has gone has an end too.
    let begun = LeftOut { region: "ap".to_owned(), since_unix_ms: 50_000, until_unix_ms: 0 };
    for (said, wanted) in [(vec![begun], "left out of"), (Vec::new(), "n-us does not leave it out")] {
        nodes[2].say(|words| words.left_out = said);
        let is = |kind: Kind, event: &admin::Event| kind == Kind::Region && event.text.starts_with(wanted);
        assert_eq!(until(&mut events, is).await.pop().unwrap().1.subject, "ap");
    }
    let request = admin::ExplainRequest { subject: Some(Subject::Region("eu".to_owned())) };
    let lines = replica.admin.explain(request).await.unwrap().into_inner().lines.join("\n");
    assert!(lines.contains("left out of the DNS answers of n-us by agreement no longer"), "{lines}");
    replica.stop().await;
}

#[tokio::test]
async fn a_watcher_whose_replica_lost_the_store_is_told_to_look_again() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let mut events = watch(&mut replica, "").await;
    next(&mut events).await;
    let (mut seen, mut last) = (None, String::new());
    store.set_available(false);
    replica.fleet_with("read-only", |fleet| !fleet.read_only.is_empty()).await;
    store.set_available(true);
    // Before the replica can list again: what it was is not in the list.
    for value in ["1", "2"] {
        store.txn(Txn::new().put("/meridian/test/elsewhere", value)).await.unwrap();
    }
    replica.fleet_with("back", |fleet| fleet.read_only.is_empty()).await;
    replica.apply(apply(1, vec![region("us", 9.0)], Vec::new())).await;
    while seen.is_none() {
        match next(&mut events).await {
            (_, Some(Message::ResyncRequired(why))) => seen = Some(why),
            (cursor, Some(Message::Event(event))) if event.text.starts_with("head 1 -> 2") => {
                panic!("{cursor} after {last}: a gap was passed over")
            }
            (cursor, _) => last = cursor,
        }
    }
    assert!(seen.unwrap().contains("does not know every event"));
    replica.stop().await;
}

#[tokio::test]
async fn a_drain_without_room_elsewhere_is_refused_unless_forced_and_the_rehearsal_says_why() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let nodes = nodes(&replica).await;
    for node in &nodes {
        node.say(|words| words.in_flight = 70);
    }
    let loaded = |fleet: &admin::Fleet| all_serve(fleet) && fleet.regions.iter().all(|region| region.demand == 70.0);
    replica.fleet_with("loaded", loaded).await;
    let suppose = |what| admin::Supposition { region: "eu".to_owned(), what: Some(what) };
    let rehearse = |what| admin::RehearseRequest { suppose: vec![suppose(what)] };
    let rehearsal = replica.admin.rehearse(rehearse(What::Down(true))).await.unwrap().into_inner();
    // 210 in flight, and room for 85 in each of two.
    assert_eq!((rehearsal.demand, rehearsal.shed.round()), (210.0, 40.0));
    let after: Vec<_> = rehearsal.regions.iter().map(|region| (region.weight_before, region.weight_after)).collect();
    assert_eq!(after, [(334, 500), (333, 0), (333, 500)]);
    assert_eq!(rehearsal.regions.iter().map(|region| region.shed).sum::<f64>().round(), 40.0);

    let refused = replica.drain("eu", true).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("about 40 of 210 requests in flight without room"), "{refused}");
    assert!(!shown(&replica.fleet().await, "eu").drained);
    replica.force_drain("eu").await.unwrap();
    replica.fleet_with("drained", |fleet| weights(fleet)[1] == 0).await;
    // With room it needs no force.
    replica.drain("eu", false).await.unwrap();
    for node in &nodes {
        node.say(|words| words.in_flight = 10);
    }
    replica.fleet_with("quiet", |fleet| fleet.regions.iter().all(|region| region.demand == 10.0)).await;
    replica.drain("eu", true).await.unwrap();
    // Where nobody is left, the drained would get it all back.
    replica.drain("ap", true).await.unwrap();
    replica.fleet_with("us alone", |fleet| weights(fleet) == [0, 0, 1000]).await;
    let refused = replica.drain("us", true).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().starts_with("no other region takes traffic"), "{refused}");
    replica.force_drain("us").await.unwrap();

    for (what, region, expected) in [
        (Some(What::Down(false)), "eu", Code::InvalidArgument),
        (Some(What::Weight(1001)), "eu", Code::InvalidArgument),
        (Some(What::Demand(-1.0)), "eu", Code::InvalidArgument),
        (None, "eu", Code::InvalidArgument),
        (Some(What::Down(true)), "mars", Code::NotFound),
    ] {
        let request = admin::RehearseRequest { suppose: vec![admin::Supposition { region: region.to_owned(), what }] };
        assert_eq!(replica.admin.rehearse(request).await.unwrap_err().code(), expected, "{what:?} {region}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn explanations_name_verdicts_evidence_inputs_and_overrides() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let nodes = nodes(&replica).await;
    replica.fleet_with("all serve", all_serve).await;
    replica.drain("eu", true).await.unwrap();
    nodes[0].lose("us/n-us");
    replica.fleet_with("drained", |fleet| shown(fleet, "eu").state() == RegionState::Drained).await;
    let mut explain = async |subject: Subject| {
        let request = admin::ExplainRequest { subject: Some(subject) };
        replica.admin.explain(request).await.map(|response| response.into_inner().lines.join("\n"))
    };
    let check = |text: &str, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    };
    let text = explain(Subject::Region("eu".into())).await.unwrap();
    check(&text, &["eu is drained, as judged since 20", "node n-eu is serving since 20", "until removed: maintenance"]);
    let text = explain(Subject::Weight("us".into())).await.unwrap();
    check(&text, &["us has weight 500 of 1000 in plan 0.", "takes over 167/1000 of all traffic from eu (drained)"]);
    check(&text, &["capacity 100", "declared weight 100; no override", "first token here: 102 ms"]);
    let text = explain(Subject::Node("n-us".into())).await.unwrap();
    check(
        &text,
        &["n-us is serving since 20", "it says serving", "n-ap in ap cannot reach it", "n-eu in eu reaches it"],
    );
    for (subject, known) in [
        (Subject::Region("mars".into()), "there are: ap, eu, us"),
        (Subject::Weight("mars".into()), "there are: ap, eu, us"),
        (Subject::Node("mars".into()), "there is no node mars"),
        (Subject::Target("mars".into()), "no node reports a target mars"),
    ] {
        let refused = explain(subject).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        assert!(refused.message().contains(known), "{refused}");
    }
    replica.stop().await;
}
