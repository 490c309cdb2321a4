//! Compares a YAML tree with the message that it should become, and says everything that does not fit.
//!
//! The messages' generated JSON reader stops at the first misfit and does not know what a person could have meant. The
//! comparison hands on what fits, so that reader has nothing left to refuse and what fits is checked in the same run.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use meridian_types::{ErrorCode, Kind};
use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind as FieldKind, MessageDescriptor};

use crate::mistake::{Located, Place};
use crate::suggest;
use crate::yaml::{Entry, Node, Position, Value};

type Json = serde_json::Value;

const DURATION: &str = "google.protobuf.Duration";

/// Field names under which people write secrets. None of them is a field of a resource.
const SECRET_FIELDS: [&str; 10] =
    ["apikey", "key", "secret", "token", "password", "accesskey", "secretkey", "authorization", "value", "literal"];

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(meridian_proto::DESCRIPTORS).ok());

/// The message of a kind of resource.
pub(crate) fn message_of(kind: Kind) -> Option<MessageDescriptor> {
    POOL.as_ref()?.get_message_by_name(&format!("meridian.resources.v1.{kind}"))
}

/// Collects what does not fit in one resource.
pub(crate) struct Comparison<'a> {
    pub(crate) file: &'a Arc<str>,
    pub(crate) resource: String,
    pub(crate) mistakes: Vec<Located>,
    /// The paths that the mistakes speak of: nothing is said there a second time.
    pub(crate) told: BTreeSet<String>,
}

impl Comparison<'_> {
    pub(crate) fn add(&mut self, at: Position, path: &str, code: ErrorCode, text: impl Into<String>) {
        let (place, resource) = (Place::new(self.file, at), self.resource.clone());
        self.told.insert(path.to_owned());
        self.mistakes.push(Located { place, resource, path: path.to_owned(), code, text: text.into() });
    }

    fn wrong(&mut self, node: &Node, path: &str, expected: &str) -> Option<Json> {
        let text = match node.value {
            Value::Null => format!("nothing is written here; leave the field out, or write {expected}"),
            _ => format!("{} is not allowed here; write {expected}", node.what()),
        };
        self.add(node.at, path, ErrorCode::InvalidField, text);
        None
    }

    /// Compares `entries` with the fields of `message`, and returns what fits in its JSON form.
    pub(crate) fn fields(&mut self, entries: &[&Entry], message: &MessageDescriptor, path: &str) -> Json {
        let mut fitting = serde_json::Map::new();
        let mut meant: Vec<String> = Vec::new();
        let mut given: Vec<FieldDescriptor> = Vec::new();
        for entry in entries {
            let path = join(path, &entry.key);
            let by_name = message.get_field_by_name(&entry.key);
            let Some(field) = by_name.or_else(|| message.get_field_by_json_name(&entry.key)) else {
                meant.extend(self.unknown_field(entry, message, &path));
                continue;
            };
            // The library refuses the same key twice, but not `base_url` beside `baseUrl`.
            let is_repeated = given.contains(&field);
            if is_repeated {
                let text = format!("{} is given twice, in two spellings", field.name());
                self.add(entry.key_at, &path, ErrorCode::Duplicate, text);
            }
            let is_alternative = self.one_of(&given, &field, entry, &path);
            let value = self.field(&entry.node, &field, &path);
            if let Some(value) = value.filter(|_| !is_repeated && !is_alternative) {
                fitting.insert(entry.key.clone(), value);
            }
            given.push(field);
        }
        // A field that is there under a slip of the pen is not missing as well.
        meant.retain(|meant| given.iter().all(|field| field.name() != meant));
        self.told.extend(meant.iter().map(|meant| join(path, meant)));
        Json::Object(fitting)
    }

    /// Returns the field that was probably meant.
    fn unknown_field(&mut self, entry: &Entry, message: &MessageDescriptor, path: &str) -> Option<String> {
        let folded = entry.key.to_ascii_lowercase().replace(['_', '-'], "");
        let about_credentials = message.full_name().ends_with(".Provider") || message.name() == "CredentialRef";
        if about_credentials && SECRET_FIELDS.contains(&folded.as_str()) {
            self.literal_secret(entry.key_at, path);
            return None;
        }
        let names: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let allowed = match names.as_slice() {
            [] => "; no field is allowed here: write `{}`".to_owned(),
            names => suggest::allowed(&entry.key, names),
        };
        self.add(entry.key_at, path, ErrorCode::InvalidField, format!("unknown field{allowed}"));
        suggest::nearest(&entry.key, names).map(str::to_owned)
    }

    fn literal_secret(&mut self, at: Position, path: &str) {
        let text = "a secret must not stand in the configuration; \
                    write a reference: `credential: {env: NAME}` or `credential: {file: /PATH}`";
        self.add(at, path, ErrorCode::LiteralSecret, text);
    }

    /// Whether another field of the same choice is given already.
    fn one_of(&mut self, given: &[FieldDescriptor], field: &FieldDescriptor, entry: &Entry, path: &str) -> bool {
        let Some(group) = field.containing_oneof().filter(|group| !group.is_synthetic()) else { return false };
        let same = |other: &&FieldDescriptor| *other != field && other.containing_oneof().as_ref() == Some(&group);
        let Some(other) = given.iter().find(same) else { return false };
        let arms: Vec<String> = group.fields().map(|arm| arm.name().to_owned()).collect();
        let text = format!("{} is given already; only one of {} may be", other.name(), arms.join(", "));
        self.add(entry.key_at, path, ErrorCode::InvalidField, text);
        true
    }

    fn field(&mut self, node: &Node, field: &FieldDescriptor, path: &str) -> Option<Json> {
        if !field.is_list() {
            return self.single(node, field, path);
        }
        let Value::List(items) = &node.value else { return self.wrong(node, path, "a list") };
        let items = items.iter().enumerate().map(|(i, item)| {
            // What is behind a misfit keeps its place in the list.
            self.single(item, field, &format!("{path}[{i}]")).unwrap_or_else(|| empty(field))
        });
        Some(Json::Array(items.collect()))
    }

    fn single(&mut self, node: &Node, field: &FieldDescriptor, path: &str) -> Option<Json> {
        match (field.kind(), &node.value) {
            (FieldKind::Message(message), _) if message.full_name() == DURATION => self.duration(node, path),
            (FieldKind::Message(message), Value::Map(entries)) => {
                Some(self.fields(&entries.iter().collect::<Vec<_>>(), &message, path))
            }
            (FieldKind::Message(message), Value::Text(_)) if message.name() == "CredentialRef" => {
                self.literal_secret(node.at, path);
                None
            }
            (FieldKind::Message(message), _) => {
                let names: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
                self.wrong(node, path, &format!("a mapping: {{{}}}", names.join(", ")))
            }
            (FieldKind::Enum(values), _) => self.choice(node, &values, path),
            (FieldKind::String, Value::Text(_))
            | (FieldKind::Bool, Value::Bool(_))
            | (FieldKind::Double | FieldKind::Float, Value::Float(_) | Value::Integer(_)) => Some(node.to_json()),
            (FieldKind::String, Value::Integer(_) | Value::Float(_) | Value::Bool(_)) => {
                self.wrong(node, path, "text, in quotes")
            }
            (FieldKind::String, _) => self.wrong(node, path, "text"),
            (FieldKind::Bool, _) => self.wrong(node, path, "true or false"),
            (FieldKind::Double | FieldKind::Float, _) => self.wrong(node, path, "a number"),
            (kind, _) => self.whole_number(node, &kind, path),
        }
    }

    fn whole_number(&mut self, node: &Node, kind: &FieldKind, path: &str) -> Option<Json> {
        let (low, high): (i128, i128) = match kind {
            FieldKind::Uint32 | FieldKind::Fixed32 => (0, u32::MAX.into()),
            FieldKind::Uint64 | FieldKind::Fixed64 => (0, u64::MAX.into()),
            FieldKind::Int32 | FieldKind::Sint32 | FieldKind::Sfixed32 => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN.into(), i64::MAX.into()),
        };
        match node.value {
            Value::Integer(value) if (low..=high).contains(&value) => Some(node.to_json()),
            Value::Integer(value) => {
                let text = format!("{value} is not allowed; a whole number from {low} to {high} is");
                self.add(node.at, path, ErrorCode::InvalidField, text);
                None
            }
            _ => self.wrong(node, path, &format!("a whole number from {low} to {high}, without quotes")),
        }
    }

    fn duration(&mut self, node: &Node, path: &str) -> Option<Json> {
        const EXPECTED: &str = "a duration in seconds with the unit s, such as 30s or 1.5s";
        match node.text() {
            Some(text) if is_duration(text) => Some(node.to_json()),
            Some(text) => {
                let text: String = text.chars().take(40).collect();
                let text = format!("{text:?} is no duration; write {EXPECTED}");
                self.add(node.at, path, ErrorCode::InvalidField, text);
                None
            }
            None => self.wrong(node, path, EXPECTED),
        }
    }

    fn choice(&mut self, node: &Node, values: &EnumDescriptor, path: &str) -> Option<Json> {
        // Number 0 means "not written" and cannot be chosen.
        let names: Vec<String> =
            values.values().filter(|value| value.number() != 0).map(|value| value.name().to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match node.text() {
            Some(text) if names.contains(&text) => Some(node.to_json()),
            Some(text) => {
                let allowed = suggest::allowed(text, &names);
                let text: String = text.chars().take(40).collect();
                self.add(node.at, path, ErrorCode::InvalidField, format!("{text:?} is unknown{allowed}"));
                None
            }
            None => self.wrong(node, path, &format!("one of {}", names.join(", "))),
        }
    }
}

/// Stands in a list for what does not fit there.
fn empty(field: &FieldDescriptor) -> Json {
    match field.kind() {
        FieldKind::Message(message) if message.full_name() == DURATION => Json::from("0s"),
        FieldKind::Message(_) => Json::Object(serde_json::Map::new()),
        FieldKind::String | FieldKind::Bytes => Json::from(""),
        FieldKind::Bool => Json::from(false),
        _ => Json::from(0),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Protobuf's JSON form: seconds with up to nine decimals and an `s`. A minus sign is left to the range check.
fn is_duration(text: &str) -> bool {
    let Some(number) = text.strip_suffix('s') else { return false };
    let number = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (1..=12).contains(&whole.len()) && digits(whole) && (1..=9).contains(&fraction.len()) && digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_message() {
        for kind in Kind::ALL {
            assert!(message_of(kind).is_some(), "{kind}");
        }
    }

    #[test]
    fn durations_are_seconds() {
        for good in ["30s", "1.5s", "0s", "0.000000001s", "-1s"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["30", "30 s", "5m", "500ms", ".5s", "1.s", "1e3s", "s", "", "1.0000000001s", "1h30s"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }
}
