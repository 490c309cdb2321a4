//! Resources from files: read, compared with their schema, validated; every mistake of every file together.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_proto::content::Content;
use meridian_proto::convert;
use meridian_proto::resources::v1::{Resource, Tenant};
use meridian_types::{Configuration, ErrorCode, Kind, Mistake};
use prost::Message;

use crate::document::{self, Document};
use crate::mistake::{Located, Place};
use crate::source::Source;
use crate::yaml::{self, Node};

/// Resources that are each valid by themselves, and where they were written.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of the files.
    pub resources: Vec<Resource>,
    written: BTreeMap<(String, String), (Arc<str>, Node)>,
}

/// Reads resources. References between them are not checked: what they refer to may be in the control plane already
/// ([`Loaded::check_references`] is for a set that stands alone).
pub fn load(sources: &[Source]) -> Result<Loaded, Vec<Located>> {
    let mut loaded = Loaded::default();
    let mut mistakes = Vec::new();
    for source in sources {
        let documents = match yaml::parse(&source.text) {
            Ok(documents) => documents,
            Err(unreadable) => {
                let place = Place::new(&source.file, unreadable.at);
                let (code, text) = (ErrorCode::InvalidRequest, unreadable.text);
                mistakes.push(Located { place, resource: String::new(), path: String::new(), code, text });
                continue;
            }
        };
        for node in documents {
            match document::read(&source.file, &node) {
                Ok(document) => loaded.add(&source.file, node, document, &mut mistakes),
                Err(found) => mistakes.extend(found),
            }
        }
    }
    mistakes.sort();
    if mistakes.is_empty() { Ok(loaded) } else { Err(mistakes) }
}

impl Loaded {
    fn add(&mut self, file: &Arc<str>, node: Node, document: Document, mistakes: &mut Vec<Located>) {
        let Document { kind, name, body } = document;
        let key = (kind.as_str().to_owned(), name.clone());
        if let Some(first) = self.place(kind.as_str(), &name, "") {
            let text = format!("this resource stands at {first} already");
            let resource = format!("{kind}/{name}");
            let (place, code) = (Place::new(file, node.locate("name")), ErrorCode::Duplicate);
            mistakes.push(Located { place, resource, path: "name".to_owned(), code, text });
            return;
        }
        let found = validate(kind, &name, &body).into_iter();
        mistakes.extend(found.map(|mistake| Located::from_mistake(place(file, &node, &mistake.path), mistake)));
        self.written.insert(key, (file.clone(), node));
        self.resources.push(Resource { kind: kind.as_str().to_owned(), name, body });
    }

    /// Where a field of a resource was written, or the nearest thing around it; `None` if the resource is not from
    /// these files.
    pub fn place(&self, kind: &str, name: &str, path: &str) -> Option<Place> {
        let (file, node) = self.written.get(&(kind.to_owned(), name.to_owned()))?;
        Some(place(file, node, path))
    }

    /// Checks that every reference leads to another of these resources, and returns the whole configuration.
    pub fn check_references(&self) -> Result<Configuration, Vec<Located>> {
        let configuration = self.resources.iter().filter(|resource| resource.kind != Kind::Tenant.as_str());
        Content::from_resources(configuration.cloned()).configuration().map_err(|mistakes| {
            let located = mistakes.into_iter().map(|mistake| {
                let place = self.place(mistake.kind.as_str(), &mistake.name, &mistake.path);
                let place = place.unwrap_or_else(|| Place { file: "".into(), line: 0, column: 0 });
                Located::from_mistake(place, mistake)
            });
            let mut located: Vec<_> = located.collect();
            located.sort();
            located
        })
    }
}

fn place(file: &Arc<str>, node: &Node, path: &str) -> Place {
    Place::new(file, node.locate(path))
}

fn validate(kind: Kind, name: &str, body: &[u8]) -> Vec<Mistake> {
    let outcome = match kind {
        Kind::Tenant => Tenant::decode(body).map_err(|_| Vec::new()).and_then(|m| convert::tenant(&m).map(drop)),
        _ => convert::add_resource(&mut Configuration::default(), kind.as_str(), name, body),
    };
    outcome.err().unwrap_or_default()
}
