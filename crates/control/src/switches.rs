//! What operators have switched off: which hold, and how they are told to people and to nodes.

use meridian_proto::fleet::v1::Switch;
use meridian_proto::node::v1 as node;

use crate::lead::time;
use crate::scope::Scope;
use crate::view::View;

/// Without those that have ended by `now`.
pub(crate) fn holding(switches: &[Switch], now_unix_ms: i64) -> impl Iterator<Item = &Switch> {
    switches.iter().filter(move |switch| switch.until_unix_ms == 0 || now_unix_ms < switch.until_unix_ms)
}

/// Which calls it holds back.
pub(crate) fn scope(switch: &Switch) -> Scope<'_> {
    const NOTHING: Scope<'static> = Scope { provider: "", model: "", region: "" };
    switch.scope.as_ref().map_or(NOTHING, Scope::from)
}

/// Which calls, until when, by whom and why.
pub(crate) fn text(switch: &Switch) -> String {
    let until = match switch.until_unix_ms {
        0 => "it is released".to_owned(),
        until => time(until),
    };
    format!("{}, until {until}, by {}: {}", scope(switch), switch.author, switch.reason)
}

/// For nodes, which count down by themselves.
pub(crate) fn list(view: &View, now_unix_ms: i64) -> node::SwitchList {
    let active = |switch: &Switch| {
        let left = (switch.until_unix_ms != 0).then(|| switch.until_unix_ms.saturating_sub(now_unix_ms));
        let left_ms = left.map(|left| u64::try_from(left).unwrap_or(0));
        node::ActiveSwitch { switch: Some(switch.clone()), left_ms }
    };
    node::SwitchList {
        epoch: view.epoch,
        revision: view.switches_revision.0,
        switches: holding(&view.switches.switches, now_unix_ms).map(active).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use meridian_proto::fleet::v1::SwitchScope;
    use meridian_proto::store::v1 as stored;

    use super::*;

    fn switch(region: &str, until_unix_ms: i64) -> Switch {
        let scope = SwitchScope { provider: "a".to_owned(), model: "m".to_owned(), region: region.to_owned() };
        let (author, reason) = ("alice".to_owned(), "key leaked".to_owned());
        Switch { scope: Some(scope), author, reason, made_at_unix_ms: 1, until_unix_ms }
    }

    #[test]
    fn a_switch_is_told_whole() {
        assert_eq!(text(&switch("", 0)), "a:m, until it is released, by alice: key leaked");
        let until = 1_795_262_400_000;
        assert_eq!(text(&switch("eu", until)), "a:m from eu, until 2026-11-21T12:00:00Z, by alice: key leaked");
    }

    #[test]
    fn nodes_are_told_how_long_each_still_holds_and_nothing_of_those_that_have_ended() {
        let switches = vec![switch("", 0), switch("eu", 5_000), switch("us", 1_000)];
        let switches = Arc::new(stored::Switches { switches, ..stored::Switches::default() });
        let mut view = View::default();
        view.switches = switches;
        let list = list(&view, 1_000);
        let left: Vec<_> = list.switches.iter().map(|active| active.left_ms).collect();
        assert_eq!(left, [None, Some(4_000)]);
    }
}
