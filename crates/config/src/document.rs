//! One YAML document to one resource.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use meridian_proto::resources::v1 as wire;
use meridian_types::{ErrorCode, Kind};
use prost::Message;
use serde::de::DeserializeOwned;

use crate::mistake::Located;
use crate::schema::{self, Comparison};
use crate::suggest;
use crate::yaml::{Entry, Node, Position};

/// What `apiVersion`, if it is written, has to be.
const API_VERSION: &str = "meridian/v1";

/// What is not known before the document has been read.
const KIND: &str = "kind";
const NAME: &str = "name";
const VERSION: &str = "apiVersion";

/// A resource as far as it can be read.
pub(crate) struct Document {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) body: Bytes,
    /// The paths at which a mistake was told: what follows from it is no mistake of its own.
    pub(crate) told: BTreeSet<String>,
}

/// Reads a document and says everything that does not fit. There is a resource if it is known which one, so that
/// what fits of it is checked in the same run and a reference to it leads somewhere.
pub(crate) fn read(file: &Arc<str>, node: &Node) -> (Option<Document>, Vec<Located>) {
    let mut comparison = Comparison { file, resource: String::new(), mistakes: Vec::new(), told: BTreeSet::new() };
    let document = compared(&mut comparison, node);
    (document, comparison.mistakes)
}

/// A resource of which nothing but its name is known.
pub(crate) fn named(kind: &str, name: &str) -> Option<Document> {
    let kind = kind_of(kind).or_else(|| kind_of(suggest::nearest(kind, kinds())?))?;
    let json = serde_json::json!({ NAME: name });
    let body = encode(kind, json).ok().filter(|_| !name.is_empty())?;
    Some(Document { kind, name: name.to_owned(), body, told: BTreeSet::from([String::new()]) })
}

fn compared(comparison: &mut Comparison<'_>, node: &Node) -> Option<Document> {
    let Some(entries) = node.entries() else {
        let text =
            format!("a document is a mapping with `kind`, `name` and the kind's fields; this is {}", node.what());
        comparison.add(node.at, "", ErrorCode::InvalidField, text);
        return None;
    };
    let entry = |key: &str| entries.iter().find(|entry| entry.key == key);
    if let Some(version) = entry(VERSION)
        && version.node.text() != Some(API_VERSION)
    {
        comparison.add(version.node.at, VERSION, ErrorCode::InvalidField, format!("only {API_VERSION} is allowed"));
    }
    let name = entry(NAME).and_then(|entry| entry.node.text()).unwrap_or_default().to_owned();
    let Some(kind) = kind(comparison, entry(KIND), node.at) else {
        return named(entry(KIND)?.node.text()?, &name);
    };
    let message = schema::message_of(kind)?;
    comparison.resource = format!("{kind}/{name}");
    if entry(NAME).is_none() {
        comparison.add(node.at, NAME, ErrorCode::MissingField, "this field is required");
    }
    let fields: Vec<&Entry> = entries.iter().filter(|entry| entry.key != KIND && entry.key != VERSION).collect();
    let json = comparison.fields(&fields, &message, "");
    match encode(kind, json) {
        Ok(body) => Some(Document { kind, name, body, told: std::mem::take(&mut comparison.told) }),
        Err(error) => {
            comparison.add(node.at, "", ErrorCode::InvalidField, error.to_string());
            None
        }
    }
}

fn kinds() -> [&'static str; Kind::ALL.len()] {
    Kind::ALL.map(Kind::as_str)
}

fn kind_of(text: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
}

fn kind(comparison: &mut Comparison<'_>, entry: Option<&Entry>, at: Position) -> Option<Kind> {
    let Some(entry) = entry else {
        let text = format!("this field is required: one of {}", kinds().join(", "));
        comparison.add(at, KIND, ErrorCode::MissingField, text);
        return None;
    };
    let text = entry.node.text().unwrap_or_default();
    let found = kind_of(text);
    if found.is_none() {
        let text = if text == "Key" {
            "keys are not declared: `meridian keys create` makes one and shows it once".to_owned()
        } else {
            format!("unknown kind{}", suggest::allowed(text, &kinds()))
        };
        comparison.add(entry.node.at, KIND, ErrorCode::InvalidField, text);
    }
    found
}

fn encode(kind: Kind, json: serde_json::Value) -> Result<Bytes, serde_json::Error> {
    fn of<M: Message + DeserializeOwned>(json: serde_json::Value) -> Result<Bytes, serde_json::Error> {
        Ok(serde_json::from_value::<M>(json)?.encode_to_vec().into())
    }
    match kind {
        Kind::Region => of::<wire::Region>(json),
        Kind::Provider => of::<wire::Provider>(json),
        Kind::Model => of::<wire::Model>(json),
        Kind::Zone => of::<wire::Zone>(json),
        Kind::Tenant => of::<wire::Tenant>(json),
    }
}
