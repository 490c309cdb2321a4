//! Configuration comes, changes and is refused.

use std::sync::Arc;
use std::time::Duration;

use meridian_control_client::{Published, Source};
use meridian_proto::content::Content;
use meridian_proto::node::v1::ServingState;
use meridian_types::CommitId;

use crate::support::{Setup, ask, ask_streamed, configuration, publish, start_without_configuration};

#[tokio::test]
async fn a_node_is_ready_once_it_has_a_configuration_and_keeps_it_when_the_next_is_wrong() {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    assert_eq!(sandbox.get("/readyz").await.status, 503);
    assert_eq!(sandbox.get("/healthz").await.status, 200);
    assert_eq!(sandbox.chat(ask("chat")).await.status, 503);
    assert_eq!(sandbox.node.serving().vitals().state, ServingState::Starting);

    publish(&sandbox.node, 1, configuration(&setup, addresses));
    assert_eq!(sandbox.get("/readyz").await.status, 200);
    assert_eq!(sandbox.chat(ask("chat")).await.status, 200);

    let mut wrong = configuration(&setup, addresses);
    wrong.providers.values_mut().for_each(|provider| provider.codec = "telepathy".to_owned());
    let content = Content::default();
    let published = Published {
        commit: CommitId(2),
        digest: content.digest(),
        content: Arc::new(content),
        configuration: Arc::new(wrong),
        source: Source::Live,
    };
    let mistakes = sandbox.node.serving().apply(Arc::new(published)).unwrap_err();
    assert_eq!(mistakes.len(), 2, "all of them: {mistakes:?}");
    assert!(mistakes[0].text.contains("openai_compatible"), "it says what is allowed: {}", mistakes[0]);
    assert_eq!(sandbox.node.serving().vitals().served.unwrap().commit, CommitId(1));
    assert_eq!(sandbox.chat(ask("chat")).await.status, 200);
}

#[tokio::test]
async fn a_new_configuration_leaves_open_streams_alone() {
    let sim = meridian_sim::Options { tokens: 10, gap: Duration::from_millis(30), ..meridian_sim::Options::instant() };
    let setup = Setup { sim, ..Setup::default() };
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    publish(&sandbox.node, 1, configuration(&setup, addresses));
    let stream = sandbox.stream(ask_streamed("chat")).await;
    let mut next = configuration(&setup, addresses);
    next.models.clear();
    publish(&sandbox.node, 2, next);
    assert_eq!(sandbox.chat(ask("chat")).await.status, 404);
    let body = http_body_util::BodyExt::collect(stream.into_body()).await.unwrap().to_bytes();
    assert_eq!(crate::support::events(&body).last().unwrap(), "[DONE]");
}

#[tokio::test]
async fn without_a_control_plane_and_without_a_file_a_node_waits_and_stops_cleanly() {
    let host = meridian_host::Host::real();
    let dir = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = crate::support::options(&host, "n1", dir.path()).await;
    options.control = Some(meridian_node::Control { endpoints: vec![nobody.to_string()], tls: None });
    let service = meridian_node::Service::new(options).await.unwrap();
    let node = service.handle();
    let (trigger, seen) = meridian_lifecycle::shutdown();
    let running = tokio::spawn(service.run(seen));
    let sessions = || node.control().unwrap().sessions();
    crate::support::eventually("the replica is tried", || {
        sessions().iter().any(|session| session.state == meridian_control_client::SessionState::Unreachable)
    })
    .await;
    assert!(!node.is_ready());
    trigger.drain();
    tokio::time::timeout(crate::support::PATIENCE, running).await.expect("it stops").unwrap();
}
