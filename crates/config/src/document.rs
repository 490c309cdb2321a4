//! One YAML document to one resource.

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

/// A resource and where it came from.
pub(crate) struct Document {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) body: Bytes,
}

/// Reads a document, or says everything that does not fit.
pub(crate) fn read(file: &Arc<str>, node: &Node) -> Result<Document, Vec<Located>> {
    let mut comparison = Comparison { file, resource: String::new(), mistakes: Vec::new() };
    let Some(entries) = node.entries() else {
        let text =
            format!("a document is a mapping with `kind`, `name` and the kind's fields; this is {}", node.what());
        comparison.add(node.at, "", ErrorCode::InvalidField, text);
        return Err(comparison.mistakes);
    };
    let entry = |key: &str| entries.iter().find(|entry| entry.key == key);
    if let Some(version) = entry(VERSION)
        && version.node.text() != Some(API_VERSION)
    {
        comparison.add(version.node.at, VERSION, ErrorCode::InvalidField, format!("only {API_VERSION} is allowed"));
    }
    let kind = kind(&mut comparison, entry(KIND), node.at);
    let name = entry(NAME).and_then(|entry| entry.node.text()).unwrap_or_default().to_owned();
    let Some((kind, message)) = kind.and_then(|kind| schema::message_of(kind).map(|message| (kind, message))) else {
        return Err(comparison.mistakes);
    };
    comparison.resource = format!("{kind}/{name}");
    if entry(NAME).is_none() {
        comparison.add(node.at, NAME, ErrorCode::MissingField, "this field is required");
    }
    let fields: Vec<&Entry> = entries.iter().filter(|entry| entry.key != KIND && entry.key != VERSION).collect();
    comparison.fields(&fields, &message, "");
    if !comparison.mistakes.is_empty() {
        return Err(comparison.mistakes);
    }
    let json = fields.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect();
    match encode(kind, json) {
        Ok(body) => Ok(Document { kind, name, body }),
        Err(error) => {
            comparison.add(node.at, "", ErrorCode::InvalidField, error.to_string());
            Err(comparison.mistakes)
        }
    }
}

fn kind(comparison: &mut Comparison<'_>, entry: Option<&Entry>, at: Position) -> Option<Kind> {
    let names = Kind::ALL.map(Kind::as_str);
    let allowed = names.join(", ");
    let Some(entry) = entry else {
        let text = format!("this field is required: one of {allowed}");
        comparison.add(at, KIND, ErrorCode::MissingField, text);
        return None;
    };
    let text = entry.node.text().unwrap_or_default();
    let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
    if found.is_none() {
        let text = if text == "Key" {
            "keys are not declared: `meridian keys create` makes one and shows it once".to_owned()
        } else {
            let hint = suggest::hint(text, names);
            format!("unknown kind{hint} allowed: {allowed}")
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
