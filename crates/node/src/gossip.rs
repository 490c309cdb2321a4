//! What nodes tell each other in the answers to their probes ([`meridian_types::probe`]).

use std::fmt::Write;
use std::time::Duration;

use meridian_health::agreement::{Probe, Told, summarise};
use meridian_types::RegionName;

/// Regions in one answer; more than anybody has. The rest is not read.
const MAX_REGIONS: usize = 64;

/// What this node's probes say of each region; `None`: nothing.
pub(crate) fn write(probes: &[Probe]) -> Option<String> {
    let mut text = String::new();
    for (region, (reachable, age)) in summarise(probes).iter().take(MAX_REGIONS) {
        let state = if *reachable { "up" } else { "down" };
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{region}={state};{}", age.as_millis());
    }
    (!text.is_empty()).then_some(text)
}

/// What a node of `by` said. What is not understood is passed over: a newer build may say more.
pub(crate) fn read(by: &RegionName, text: &str) -> Vec<Told> {
    let told = |part: &str| {
        let (region, rest) = part.split_once('=')?;
        let (state, age_ms) = rest.split_once(';')?;
        let reachable = match state {
            "up" => true,
            "down" => false,
            _ => return None,
        };
        let age = Duration::from_millis(u64::from(age_ms.parse::<u32>().ok()?));
        Some(Told { by: by.clone(), about: RegionName::new(region).ok()?, reachable, age })
    };
    text.split(',').take(MAX_REGIONS).filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_nonsense_is_passed_over() {
        let probe = |name: &str, reachable| Probe {
            region: region(name),
            reachable,
            streak: 3,
            age: Duration::from_millis(250),
        };
        let text = write(&[probe("eu", true), probe("us", false)]).unwrap();
        assert_eq!(text, "eu=up;250,us=down;250");
        let told = |about: &str, reachable| Told {
            by: region("ap"),
            about: region(about),
            reachable,
            age: Duration::from_millis(250),
        };
        assert_eq!(read(&region("ap"), &text), [told("eu", true), told("us", false)]);
        assert_eq!(read(&region("ap"), "x,eu=,us=up,=up;1,us=odd;1,us=up;-1,ALL=up;1,eu=up;250"), [told("eu", true)]);
        assert_eq!(write(&[]), None);
    }
}
