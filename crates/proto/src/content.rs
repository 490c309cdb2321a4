//! A commit's content: opaque resources, ordered, with a digest and diffs.
//!
//! Bodies are kept and passed on as bytes: a process of an older build must not lose a field that it does not know,
//! and the digest must not depend on who computes it.

use std::collections::BTreeMap;

use bytes::Bytes;
use meridian_types::{Configuration, Digest, Kind, Mistake};

use crate::resources::v1::{Resource, ResourceRef};
use crate::sketch::Sketch;

/// Resources by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    resources: BTreeMap<(String, String), Bytes>,
}

impl Content {
    /// Of some resources; of two with one kind and name the later stays.
    pub fn from_resources(resources: impl IntoIterator<Item = Resource>) -> Self {
        let resources = resources.into_iter().map(|r| ((r.kind, r.name), r.body)).collect();
        Self { resources }
    }

    /// Every resource, sorted by kind and name.
    pub fn resources(&self) -> impl ExactSizeIterator<Item = Resource> + '_ {
        self.resources.iter().map(|((kind, name), body)| Resource {
            kind: kind.clone(),
            name: name.clone(),
            body: body.clone(),
        })
    }

    /// One resource's body.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Bytes> {
        self.resources.get(&(kind.as_str().to_owned(), name.to_owned()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// SHA-256 over kinds, names and bodies in order.
    pub fn digest(&self) -> Digest {
        let parts = self.resources.iter().flat_map(|((kind, name), body)| [kind.as_bytes(), name.as_bytes(), body]);
        Digest::of_parts(parts)
    }

    /// What turns `base` into `self`.
    pub fn diff(&self, base: &Self) -> (Vec<Resource>, Vec<ResourceRef>) {
        let changed = self
            .resources()
            .filter(|r| base.resources.get(&(r.kind.clone(), r.name.clone())).is_none_or(|body| *body != r.body));
        let removed = base.resources.keys().filter(|key| !self.resources.contains_key(*key));
        let removed = removed.map(|(kind, name)| ResourceRef { kind: kind.clone(), name: name.clone() });
        (changed.collect(), removed.collect())
    }

    /// Adds, replaces and removes. Removing what is not there changes nothing: the digest tells whether both sides
    /// meant the same.
    pub fn apply(&mut self, upserts: Vec<Resource>, removals: Vec<ResourceRef>) {
        for removal in removals {
            self.resources.remove(&(removal.kind, removal.name));
        }
        for upsert in upserts {
            self.resources.insert((upsert.kind, upsert.name), upsert.body);
        }
    }

    /// The configuration that the resources declare, or every mistake in them and between them.
    pub fn configuration(&self) -> Result<Configuration, Vec<Mistake>> {
        self.sketch().check()
    }

    /// The configuration as far as the resources can be read.
    pub fn sketch(&self) -> Sketch {
        let mut sketch = Sketch::default();
        for ((kind, name), body) in &self.resources {
            sketch.add(kind, name, body);
        }
        sketch
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content() -> impl Strategy<Value = Content> {
        let entry = ("[ab]", "[a-e]", proptest::collection::vec(any::<u8>(), 0..3));
        proptest::collection::vec(entry, 0..8).prop_map(|entries| {
            Content::from_resources(entries.into_iter().map(|(kind, name, body)| Resource {
                kind,
                name,
                body: body.into(),
            }))
        })
    }

    proptest! {
        #[test]
        fn a_diff_applied_to_its_base_gives_the_content_and_its_digest(base in content(), target in content()) {
            let (upserts, removals) = target.diff(&base);
            let mut moved = base.clone();
            moved.apply(upserts, removals);
            prop_assert_eq!(moved.digest(), target.digest());
            prop_assert_eq!(&moved, &target);
            prop_assert_eq!(base == target, base.digest() == target.digest());
        }
    }
}
