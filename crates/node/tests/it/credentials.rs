//! A credential that is not there is told to operators by its place, and to clients only that it is missing.

use std::io::Write;
use std::sync::{Arc, Mutex};

use meridian_proto::node::v1::TargetReport;
use meridian_types::provider::CredentialRef;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Sandbox, Setup, ask, configuration, eventually, publish, start_without_configuration};

const VARIABLE: &str = "MERIDIAN_TEST_SURELY_NOT_SET";

/// What this test's thread has logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn warnings(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        // Others speak of the breakers, once requests have failed.
        let ours = |line: &&str| line.contains("WARN") && line.contains("credential is not available");
        text.lines().filter(ours).map(str::to_owned).collect()
    }
}

fn report_of_first(sandbox: &Sandbox) -> TargetReport {
    let report = sandbox.node.serving().report();
    report.targets.into_iter().find(|target| target.provider == "first").unwrap()
}

/// With this credential at the only provider; `place` is what operators hear.
async fn check(credential: CredentialRef, place: &str) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    // The test's runtime has this one thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut missing = configuration(&setup, addresses);
    missing.providers.get_mut("first").unwrap().credential = Some(credential);
    publish(&sandbox.node, 1, missing.clone());

    eventually("a warning", || !log.warnings().is_empty()).await;
    let first = report_of_first(&sandbox);
    assert!(!first.available && first.reason.contains(place), "{first:?}");
    for _ in 0..2 {
        let answer = sandbox.chat(ask("only")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "upstream_credentials_exhausted"));
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.contains("credential for the upstream is not available") && !text.contains(place), "{text}");
    }
    let first = report_of_first(&sandbox);
    assert!(!first.available && first.reason.contains(place), "also once the breakers know: {first:?}");
    assert_eq!(sandbox.chat(ask("chat")).await.status, 200, "the second has one");

    publish(&sandbox.node, 2, missing);
    publish(&sandbox.node, 3, configuration(&setup, addresses));
    assert_eq!(sandbox.chat(ask("only")).await.status, 200);
    assert!(report_of_first(&sandbox).available);
    let warnings = log.warnings();
    assert!(warnings[0].contains("provider=first") && warnings[0].contains(place), "{warnings:?}");
    assert_eq!(warnings.len(), 1, "told once: {warnings:?}");
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_named_when_the_configuration_is_applied() {
    check(CredentialRef::Env(VARIABLE.to_owned()), &format!("environment variable {VARIABLE} is not set")).await;
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_when_the_configuration_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key").display().to_string();
    check(CredentialRef::File(path.clone()), &format!("file {path} cannot be read")).await;
}
