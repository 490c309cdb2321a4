//! Files as far as they can be read, and everything that is wrong in them.
//!
//! A mistake in one field must not hide those elsewhere: what is readable is checked together with the rest of the
//! configuration, here or by the control plane, and [`Draft::with`] leaves out what follows from a mistake already
//! told.

use meridian_proto::admin::v1 as admin;
use meridian_proto::convert;
use meridian_proto::resources::v1::Tenant;
use meridian_types::{Configuration, ErrorCode, Kind, Mistake};
use prost::Message;

use crate::document::{self, Document};
use crate::mistake::{Located, Place};
use crate::resources::Loaded;
use crate::source::Source;
use crate::yaml::{self, Node, Value};

/// What was read. Only without mistakes do the resources say what the files say.
#[derive(Debug, Default)]
pub struct Draft {
    /// What is readable: a resource whose fields are wrong is there with the others.
    pub loaded: Loaded,
    /// Everything that is wrong in the files alone, sorted by place.
    pub mistakes: Vec<Located>,
}

/// Reads resources, or returns the mistakes of all files. References between resources are not checked: what they
/// refer to may be in the control plane already ([`Loaded::check_references`] is for a set that stands alone).
pub fn load(sources: &[Source]) -> Result<Loaded, Vec<Located>> {
    let Draft { loaded, mistakes } = read(sources);
    if mistakes.is_empty() { Ok(loaded) } else { Err(mistakes) }
}

/// Reads resources as far as possible.
pub fn read(sources: &[Source]) -> Draft {
    let mut draft = Draft::default();
    for source in sources {
        for document in yaml::parse(&source.text) {
            match document {
                Ok(node) => {
                    let (document, mistakes) = document::read(&source.file, &node);
                    draft.mistakes.extend(mistakes);
                    draft.extend(source, node, document);
                }
                Err(unreadable) => {
                    let document = document::named(&unreadable.kind, &unreadable.name);
                    let resource = document.as_ref().map(|document| format!("{}/{}", document.kind, document.name));
                    draft.mistakes.push(Located {
                        place: Place::new(&source.file, unreadable.at),
                        resource: resource.unwrap_or_default(),
                        path: String::new(),
                        code: ErrorCode::InvalidRequest,
                        text: unreadable.text,
                    });
                    draft.extend(source, Node { value: Value::Null, at: unreadable.at }, document);
                }
            }
        }
    }
    draft.mistakes.sort();
    draft
}

impl Draft {
    fn extend(&mut self, source: &Source, node: Node, document: Option<Document>) {
        let Some(document) = document else { return };
        let found = validate(document.kind, &document.name, &document.body).into_iter();
        let found = found.filter(|found| !follows(&document.told, &found.path, found.code));
        let located = |found: Mistake| Located::from_mistake(Place::new(&source.file, node.locate(&found.path)), found);
        self.mistakes.extend(found.map(located));
        self.mistakes.extend(self.loaded.add(&source.file, node, document));
    }

    /// All mistakes, those included that checks of the readable part found; sorted by place, each once.
    pub fn with(self, found: impl IntoIterator<Item = Mistake>) -> Vec<Located> {
        let Self { loaded, mut mistakes } = self;
        for found in found {
            let resource = format!("{}/{}", found.kind, found.name);
            let is_told = mistakes.iter().any(|told| told.resource == resource && told.path == found.path)
                || loaded
                    .told(found.kind.as_str(), &found.name)
                    .is_some_and(|told| follows(told, &found.path, found.code));
            if !is_told {
                mistakes.push(loaded.locate(found));
            }
        }
        mistakes.sort();
        mistakes
    }

    /// The whole configuration of a set that stands alone, or every mistake in it, references included.
    pub fn configuration(self) -> Result<Configuration, Vec<Located>> {
        match self.loaded.configuration() {
            Ok(configuration) if self.mistakes.is_empty() => Ok(configuration),
            found => Err(self.with(found.err().unwrap_or_default())),
        }
    }
}

/// A mistake that the control plane found.
pub fn from_control_plane(mistake: &admin::Mistake) -> Option<Mistake> {
    let admin::Mistake { kind, name, field_path, code, text } = mistake.clone();
    // Other codes are for programs that speak to the control plane themselves.
    let known = [ErrorCode::MissingField, ErrorCode::InvalidField, ErrorCode::UnknownReference, ErrorCode::Duplicate];
    let code = known.into_iter().find(|known| known.as_str() == code).unwrap_or(ErrorCode::InvalidRequest);
    Some(Mistake { kind: Kind::parse(&kind)?, name, path: field_path, code, text })
}

/// Whether a mistake at `path` is about something that was left out because a mistake was told there: it is inside
/// of it, or it is a field that is missing only because its content did not fit.
fn follows<'a>(told: impl IntoIterator<Item = &'a String>, path: &str, code: ErrorCode) -> bool {
    let path = folded(path);
    told.into_iter().any(|told| {
        let told = folded(told);
        is_within(&path, &told) || (code == ErrorCode::MissingField && is_within(&told, &path))
    })
}

fn is_within(path: &str, around: &str) -> bool {
    around.is_empty() || path.strip_prefix(around).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// `base_url` and `baseUrl` are one field.
fn folded(path: &str) -> String {
    path.to_ascii_lowercase().replace('_', "")
}

fn validate(kind: Kind, name: &str, body: &[u8]) -> Vec<Mistake> {
    let outcome = match kind {
        Kind::Tenant => Tenant::decode(body).map_err(|_| Vec::new()).and_then(|m| convert::tenant(&m).map(drop)),
        _ => convert::add_resource(&mut Configuration::default(), kind.as_str(), name, body),
    };
    outcome.err().unwrap_or_default()
}
