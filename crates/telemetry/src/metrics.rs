//! The registry that every crate's metrics go into.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// A registry that says which build the process is (`meridian_build_info`).
pub fn registry(version: &str, role: &str) -> Registry {
    let mut registry = Registry::default();
    let labels = vec![("version", version.to_owned()), ("role", role.to_owned())];
    registry.register("meridian_build", "Version and role of the process", Info::new(labels));
    registry
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_build_is_exposed() {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &super::registry("1.2.3", "node")).unwrap();
        assert!(text.contains("meridian_build_info{version=\"1.2.3\",role=\"node\"} 1"), "{text}");
    }
}
