//! Variables of the environment, where secrets are kept out of configuration.

/// Looks variables up. They do not change while a process runs.
pub trait Environment: Send + Sync {
    /// The variable's value; `None` if it is not set, or not text.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The process's own environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}
