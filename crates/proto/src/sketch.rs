//! A configuration as far as its resources can be read, so that one check finds every mistake.
//!
//! A resource whose own fields are wrong still exists by its name, and what is readable of it still refers to others:
//! both are checked although no configuration can come of it. In place of what cannot be read the conversion puts
//! stand-ins; whatever a check says about one of those was told before.

use std::collections::{BTreeMap, BTreeSet};

use meridian_types::zone::AllDown;
use meridian_types::{Configuration, Kind, Mistake, RegionName};

use crate::convert::{self, Readable, Reading};

/// Resources as far as they can be read, and what is wrong in each alone.
#[derive(Debug, Default)]
pub struct Sketch {
    configuration: Configuration,
    mistakes: Vec<Mistake>,
    /// Resources whose name is wrong, each in a configuration of its own under the name of a stand-in.
    misnamed: Vec<(Kind, String, Configuration)>,
    /// Regions whose jurisdiction cannot be read: whether a fence admits them is not known.
    unplaced: BTreeSet<RegionName>,
}

impl Sketch {
    /// Adds one resource of a commit.
    pub fn add(&mut self, kind: &str, name: &str, body: &[u8]) {
        let Reading { value, mistakes } = convert::resource(kind, name, body);
        let is_wrong = |path: &str| mistakes.iter().any(|mistake| mistake.path == path);
        if let Some(value) = value {
            if let (Readable::Region(region), true) = (&value, is_wrong("jurisdiction")) {
                self.unplaced.insert(region.name.clone());
            }
            match Kind::parse(kind).filter(|_| is_wrong("name")) {
                None => value.put(&mut self.configuration),
                Some(kind) => {
                    let mut alone = Configuration::default();
                    value.put(&mut alone);
                    self.misnamed.push((kind, name.to_owned(), alone));
                }
            }
        }
        self.mistakes.extend(mistakes);
    }

    /// What is readable, with stand-ins where there are mistakes.
    pub fn readable(&self) -> &Configuration {
        &self.configuration
    }

    /// The configuration, or everything that is wrong in its resources and between them.
    pub fn check(mut self) -> Result<Configuration, Vec<Mistake>> {
        self.configuration.complete();
        if self.mistakes.is_empty() {
            let mistakes = self.configuration.check();
            return if mistakes.is_empty() { Ok(self.configuration) } else { Err(mistakes) };
        }
        self.open_unknown_fences();
        let mut found = self.configuration.check();
        for (kind, name, alone) in &self.misnamed {
            let mut whole = self.configuration.clone();
            let stand_in =
                alone.models.keys().map(ToString::to_string).chain(alone.zones.keys().map(ToString::to_string));
            let Some(stand_in) = stand_in.into_iter().next() else { continue };
            whole.models.extend(alone.models.clone());
            whole.zones.extend(alone.zones.clone());
            let about_it = |mistake: &Mistake| mistake.kind == *kind && mistake.name == stand_in;
            let mistakes = whole.check().into_iter().filter(about_it);
            found.extend(mistakes.map(|mistake| Mistake { name: name.clone(), ..mistake }));
        }
        self.mistakes = without_repetitions(self.mistakes, found);
        Err(self.mistakes)
    }

    fn open_unknown_fences(&mut self) {
        for steered in self.configuration.zones.values_mut().flat_map(|zone| &mut zone.steered) {
            let last = match &steered.all_down {
                AllDown::FailTo(region) => Some(region),
                AllDown::FailOpen | AllDown::Refuse => None,
            };
            if steered.regions.iter().chain(last).any(|region| self.unplaced.contains(region)) {
                steered.jurisdictions.clear();
            }
        }
    }
}

/// `told`, and of `found` what is not about a place of which something was told.
pub fn without_repetitions(told: Vec<Mistake>, found: impl IntoIterator<Item = Mistake>) -> Vec<Mistake> {
    let mut places: BTreeMap<(Kind, String), BTreeSet<String>> = BTreeMap::new();
    for mistake in &told {
        places.entry((mistake.kind, mistake.name.clone())).or_default().insert(mistake.path.clone());
    }
    let is_told = |mistake: &Mistake| {
        let paths = places.get(&(mistake.kind, mistake.name.clone()));
        paths.is_some_and(|paths| paths.contains(&mistake.path))
    };
    let new: Vec<Mistake> = found.into_iter().filter(|mistake| !is_told(mistake)).collect();
    told.into_iter().chain(new).collect()
}
