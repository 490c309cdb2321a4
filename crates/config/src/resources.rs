//! Resources and where they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meridian_proto::content::Content;
use meridian_proto::resources::v1::Resource;
use meridian_types::{Configuration, ErrorCode, Kind, Mistake};

use crate::document::Document;
use crate::mistake::{Located, Place};
use crate::yaml::Node;

/// Resources from files.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of the files.
    pub resources: Vec<Resource>,
    written: BTreeMap<(String, String), Written>,
}

#[derive(Debug)]
struct Written {
    file: Arc<str>,
    node: Node,
    told: BTreeSet<String>,
}

impl Loaded {
    /// Adds a resource, unless there is one of its name already.
    pub(crate) fn add(&mut self, file: &Arc<str>, node: Node, document: Document) -> Option<Located> {
        let Document { kind, name, body, told } = document;
        if let Some(first) = self.place(kind.as_str(), &name, "") {
            let text = format!("this resource stands at {first} already");
            let resource = format!("{kind}/{name}");
            let (place, code) = (Place::new(file, node.locate("name")), ErrorCode::Duplicate);
            // Two without a name are not one resource; that the name is missing is told.
            return (!name.is_empty()).then(|| Located { place, resource, path: "name".to_owned(), code, text });
        }
        let kind = kind.as_str().to_owned();
        self.written.insert((kind.clone(), name.clone()), Written { file: file.clone(), node, told });
        self.resources.push(Resource { kind, name, body });
        None
    }

    fn find(&self, kind: &str, name: &str) -> Option<&Written> {
        self.written.get(&(kind.to_owned(), name.to_owned()))
    }

    /// Where a field of a resource was written, or the nearest thing around it; `None` if the resource is not from
    /// these files.
    pub fn place(&self, kind: &str, name: &str, path: &str) -> Option<Place> {
        self.find(kind, name).map(|written| Place::new(&written.file, written.node.locate(path)))
    }

    /// The paths of a resource at which its document did not fit.
    pub(crate) fn told(&self, kind: &str, name: &str) -> Option<&BTreeSet<String>> {
        self.find(kind, name).map(|written| &written.told)
    }

    /// A mistake with its place, if it is in these files.
    pub fn locate(&self, mistake: Mistake) -> Located {
        let place = self.place(mistake.kind.as_str(), &mistake.name, &mistake.path);
        Located::from_mistake(place.unwrap_or_else(|| Place { file: "".into(), line: 0, column: 0 }), mistake)
    }

    /// Checks that every reference leads to another of these resources, and returns the whole configuration.
    pub fn check_references(&self) -> Result<Configuration, Vec<Located>> {
        self.configuration().map_err(|mistakes| {
            let mut located: Vec<_> = mistakes.into_iter().map(|mistake| self.locate(mistake)).collect();
            located.sort();
            located
        })
    }

    pub(crate) fn configuration(&self) -> Result<Configuration, Vec<Mistake>> {
        let configuration = self.resources.iter().filter(|resource| resource.kind != Kind::Tenant.as_str());
        Content::from_resources(configuration.cloned()).configuration()
    }
}
