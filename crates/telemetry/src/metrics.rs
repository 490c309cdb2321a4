//! The registry that every crate's metrics go into.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

/// A registry that says which build the process is (`meridian_build_info`) and how many tasks its runtime holds
/// (`meridian_tasks`): one that only grows is a leak.
pub fn registry(version: &str, role: &str) -> Registry {
    let mut registry = Registry::default();
    let labels = vec![("version", version.to_owned()), ("role", role.to_owned())];
    registry.register("meridian_build", "Version and role of the process", Info::new(labels));
    registry.register_collector(Box::new(Tasks));
    registry
}

/// Asks the runtime in which it is asked.
#[derive(Debug)]
struct Tasks;

impl Collector for Tasks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Ok(runtime) = Handle::try_current() else { return Ok(()) };
        let tasks = ConstGauge::new(i64::try_from(runtime.metrics().num_alive_tasks()).unwrap_or(i64::MAX));
        let help = "Tasks of the runtime that have not ended";
        tasks.encode(encoder.encode_descriptor("meridian_tasks", help, None, tasks.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_build_is_exposed() {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &super::registry("1.2.3", "node")).unwrap();
        assert!(text.contains("meridian_build_info{version=\"1.2.3\",role=\"node\"} 1"), "{text}");
        assert!(!text.contains("meridian_tasks"), "there is no runtime to ask: {text}");
    }

    #[tokio::test]
    async fn tasks_are_counted_until_they_end() {
        let registry = super::registry("1.2.3", "node");
        let shown = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let line = text.lines().find(|line| line.starts_with("meridian_tasks ")).unwrap().to_owned();
            line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap()
        };
        let before = shown();
        let task = tokio::spawn(std::future::pending::<()>());
        assert_eq!(shown(), before + 1);
        task.abort();
        assert!(task.await.is_err());
        assert_eq!(shown(), before);
    }
}
