//! What is wrong with a node besides what it serves, as far as it says so itself.

use meridian_proto::node::v1::Beat;

/// Of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// Why its last-known-good file is not up to date; empty: it is.
    unsaved: String,
}

impl Notes {
    /// Takes what a beat says.
    pub(super) fn beat(&mut self, beat: &Beat) {
        self.unsaved.clone_from(&beat.unsaved);
    }

    /// What there is to say, one text each.
    pub(super) fn texts(&self) -> Vec<String> {
        let unsaved = (!self.unsaved.is_empty()).then(|| {
            format!("its disk refuses ({}): a restart would find an older last-known-good file", self.unsaved)
        });
        unsaved.into_iter().collect()
    }
}
