//! YAML as a tree in which every value knows its place; the only module that names the YAML library.

mod split;
mod unreadable;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

pub(crate) use unreadable::Unreadable;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Position,
}

/// What YAML can say.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Position,
    pub(crate) node: Node,
}

/// Every document of a text, each by itself; empty ones are left out.
pub(crate) fn parse(text: &str) -> Vec<Result<Node, Unreadable>> {
    let mut documents = Vec::new();
    for part in split::parts(text) {
        // As in YAML 1.2: `NO` is Norway.
        let options = serde_saphyr::options! { strict_booleans: true };
        match serde_saphyr::from_multiple_with_options::<Spanned<Value>>(part.text, options) {
            Ok(found) => documents.extend(found.into_iter().map(|spanned| {
                let mut node = Node::from(spanned);
                node.move_down(part.lines_before);
                Ok(node)
            })),
            Err(error) => documents.push(Err(Unreadable::new(part.text, part.lines_before, &error))),
        }
    }
    documents
}

/// JSON as YAML.
pub(crate) fn write(value: &serde_json::Value) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(value)
}

fn position(location: serde_saphyr::Location) -> Position {
    Position { line: location.line(), column: location.column() }
}

impl Node {
    /// Adds lines above.
    fn move_down(&mut self, lines: u64) {
        self.at.line += lines;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.move_down(lines)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.key_at.line += lines;
                entry.node.move_down(lines);
            }),
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }

    /// What a reader would call it.
    pub(crate) fn what(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries, if it is a mapping.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The place of `path` (`tiers[0].targets[1].provider`) or of the nearest thing around it that was written.
    pub(crate) fn locate(&self, path: &str) -> Position {
        let mut node = self;
        let mut at = self.at;
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match (&node.value, step.strip_suffix(']')) {
                (Value::List(items), Some(index)) => {
                    index.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (item, item.at))
                }
                (Value::Map(entries), None) => {
                    let entry = entries.iter().find(|entry| same_field(&entry.key, step));
                    entry.map(|entry| (&entry.node, entry.key_at))
                }
                _ => None,
            };
            let Some((found, place)) = next else { break };
            (node, at) = (found, place);
        }
        at
    }

    /// As JSON, for the messages' own reader.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Integer(value) => serde_json::Number::from_i128(*value).map_or(Json::Null, Json::Number),
            Value::Float(value) => serde_json::Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect(),
        }
    }
}

/// `base_url` and `baseUrl` are one field.
fn same_field(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect::<String>();
    a == b || letters(a) == letters(b)
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { value: spanned.value, at: position(spanned.referenced) }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(Node::from(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Spanned<Value>>()? {
            map.push(Entry { key: key.value, key_at: position(key.referenced), node: value.into() });
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let text = "a: 1\nb:\n  - c: x\n    d: [2, 3.5]\n---\ne: null\n";
        let documents: Vec<_> = parse(text).into_iter().map(Result::unwrap).collect();
        assert_eq!(documents.len(), 2);
        let check = |path: &str, line: u64, column: u64| {
            assert_eq!(documents[0].locate(path), Position { line, column }, "{path}");
        };
        check("a", 1, 1);
        check("b[0].d", 4, 5);
        check("b[0].d[1]", 4, 12);
        check("b[0].missing", 3, 5);
        check("b[7].c", 2, 1);
        assert_eq!(documents[1].locate("e"), Position { line: 6, column: 1 });
    }

    #[test]
    fn text_that_is_no_yaml_says_where_and_why_in_words_about_the_text() {
        let check = |text: &str, line: u64, expected: &str| {
            let documents = parse(text);
            let [Err(error)] = documents.as_slice() else { panic!("{text:?}: {documents:?}") };
            let told = error.text.strip_prefix("unreadable YAML: ").unwrap();
            assert_eq!((error.at.line, told), (line, expected), "{text:?}");
        };
        let key = "a key is missing here, or is null; a key must be text, `null` and `~` in quotes";
        check("a: 1\nb: [\n", 2, "unclosed bracket '['");
        check("a: 1\na: 2\n", 2, "the key \"a\" is written twice here");
        check("a: 1\n b: 2\n", 2, "mapping values are not allowed in this context");
        check("a: 1\n~: 2\n", 2, key);
        check("a: 1\n: 2\n", 2, key);
        check("a: 1\n[b]: 2\n", 2, "a key must be text, neither a list nor a mapping nor tagged");
        check("a: *b\n", 1, "this alias (*name) has no anchor (&name) before it in the document");
        check("a: \"b\n", 2, "invalid indentation in multiline quoted scalar");
        check("a: {b: 1]\n", 1, "mismatched bracket '{' closed by ']'");
        check("a:\n\t- b\n", 2, "tabs disallowed within this context (block indentation)");
        check("a: 1\n<<: 7\n", 2, "a merge key (<<) takes a mapping or a list of mappings");
        check("a: !!int x\n", 1, "the value does not fit its tag");
        check("a: .nan\n", 1, "a number must be finite; write text in quotes");
        check("a: @b\n", 1, "unexpected character: `@'");
    }

    #[test]
    fn an_unreadable_document_hides_no_other_and_is_known_by_its_name() {
        let documents = parse("a: 1\n---\nkind: Model\nname: \"m\" # mine\nb: [\n---\nc: 3\n");
        let [Ok(_), Err(broken), Ok(last)] = documents.as_slice() else { panic!("{documents:?}") };
        assert_eq!((broken.kind.as_str(), broken.name.as_str(), broken.at.line), ("Model", "m", 5));
        assert_eq!(last.locate("c"), Position { line: 7, column: 1 });
    }
}
