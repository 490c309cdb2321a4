//! Standing faults through the admin endpoint.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Got, Sim, ask};

async fn chat_from(sim: &Sim, source: &str) -> Option<Got> {
    let body = ask("tokens=2", true).to_string();
    sim.send(source, "POST", "/v1/chat/completions", &[("authorization", "Bearer k")], &body).await
}

#[tokio::test]
async fn latency_can_be_raised_for_one_client_address() {
    let sim = Sim::instant().await;
    let rule = json!({ "match": { "client": "127.0.1.2" }, "fault": "latency;ms=150" });
    assert_eq!(sim.admin("PUT", "/sim/faults/slow-eu", rule).await.0.as_u16(), 200);
    let slow = chat_from(&sim, "127.0.1.2").await.unwrap();
    let quick = chat_from(&sim, "127.0.1.3").await.unwrap();
    assert!(slow.frames[0].0 >= Duration::from_millis(150) && quick.frames[0].0 < Duration::from_millis(100));
    let (_, status) = sim.admin("GET", "/sim/faults", Value::Null).await;
    assert_eq!((&status["rules"][0]["name"], &status["rules"][0]["applied"]), (&json!("slow-eu"), &json!(1)));
    assert_eq!(sim.admin("DELETE", "/sim/faults/slow-eu", Value::Null).await.0.as_u16(), 200);
    assert_eq!(sim.admin("DELETE", "/sim/faults/slow-eu", Value::Null).await.0.as_u16(), 404);
    assert!(chat_from(&sim, "127.0.1.2").await.unwrap().frames[0].0 < Duration::from_millis(100));
}

#[tokio::test]
async fn a_client_can_be_refused_at_accept_and_nothing_is_recorded_as_a_request() {
    let sim = Sim::instant().await;
    let rules =
        json!({ "rules": [{ "name": "down", "match": { "client": "127.0.1.0/24" }, "fault": "refuse", "count": 2 }] });
    sim.admin("PUT", "/sim/faults", rules).await;
    assert!(chat_from(&sim, "127.0.1.2").await.is_none());
    assert!(chat_from(&sim, "127.0.1.3").await.is_none());
    assert_eq!(sim.simulator.stats().connections.refused, 2);
    assert_eq!(sim.simulator.stats().requests.total, 0);
    assert!(chat_from(&sim, "127.0.1.2").await.is_some());
}

#[tokio::test]
async fn a_bad_rule_set_is_refused_whole_with_the_reason() {
    let sim = Sim::instant().await;
    let (status, body) = sim
        .admin(
            "PUT",
            "/sim/faults",
            json!({ "rules": [{ "name": "a", "fault": "hang" }, { "name": "b", "fault": "x" }] }),
        )
        .await;
    let told = body["error"].as_str().unwrap();
    assert!(status.as_u16() == 400 && told.starts_with("rule \"b\" has a bad fault: unknown fault \"x\"; "), "{told}");
    let (status, _) =
        sim.admin("PUT", "/sim/faults", json!({ "rules": [{ "name": "a", "fault": "hang", "odd": 1 }] })).await;
    assert_eq!(status.as_u16(), 400);
    assert_eq!(sim.admin("GET", "/sim/faults", Value::Null).await.1, json!({ "rules": [] }));
}
