//! The variables of an instance: the process's, and the one that the examples name for the simulator's key.

use std::sync::Arc;

use meridian_host::{Environment, Host};

/// What `examples/providers.yaml` names.
const VARIABLE: &str = "MERIDIAN_SIM_KEY";
/// The simulator takes anything but nothing.
const VALUE: &str = "sim";

/// `host` with the simulator's key in its environment, so that the files of `examples/` work in an instance as they
/// are. What the process has set counts first.
pub(crate) fn with_simulator_key(host: Host) -> Host {
    Host { environment: Arc::new(WithSimulatorKey(host.environment)), ..host }
}

struct WithSimulatorKey(Arc<dyn Environment>);

impl Environment for WithSimulatorKey {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.variable(name).or_else(|| (name == VARIABLE).then(|| VALUE.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(&'static str, &'static str);

    impl Environment for One {
        fn variable(&self, name: &str) -> Option<String> {
            (name == self.0).then(|| self.1.to_owned())
        }
    }

    #[test]
    fn only_the_simulators_key_is_added_and_the_processs_own_counts_first() {
        let check = |set: One, name: &str, expected: Option<&str>| {
            let host = with_simulator_key(Host { environment: Arc::new(set), ..Host::real() });
            assert_eq!(host.environment.variable(name).as_deref(), expected, "{name}");
        };
        check(One("OTHER", "x"), "OTHER", Some("x"));
        check(One("OTHER", "x"), VARIABLE, Some("sim"));
        check(One("OTHER", "x"), "PATH", None);
        check(One(VARIABLE, "own"), VARIABLE, Some("own"));
    }
}
