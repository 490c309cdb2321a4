//! JSON fixtures with holes: compiled once, bound to a request, then rendered once per event.
//!
//! A fixture is a JSON document in which the string `"{{name}}"` stands for a value. Compiling compacts the document and
//! splits it at its holes, so that rendering one streamed event is a concatenation and parses nothing.

use bytes::Bytes;
use serde_json::Value;

const OPEN: &str = "\"{{";
const CLOSE: &str = "}}\"";

/// A compacted JSON document with named holes.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Hole(String),
}

impl Template {
    /// Compiles a fixture. Text that is not JSON is kept as it is; a test reads every fixture, so that cannot ship.
    pub(crate) fn json(source: &str) -> Self {
        Self::compacted(source, |_| ())
    }

    /// Compiles a fixture without its top-level member `key`.
    pub(crate) fn json_without(source: &str, key: &str) -> Self {
        Self::compacted(source, |document| {
            if let Some(members) = document.as_object_mut() {
                members.shift_remove(key);
            }
        })
    }

    fn compacted(source: &str, change: impl FnOnce(&mut Value)) -> Self {
        match serde_json::from_str::<Value>(source) {
            Ok(mut document) => {
                change(&mut document);
                Self::split(&document.to_string())
            }
            Err(_) => Self::split(source),
        }
    }

    fn split(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let Some((name, tail)) = after.split_once(CLOSE) else { break };
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Hole(name.to_owned()));
            rest = tail;
        }
        parts.push(Part::Text(rest.to_owned()));
        Self { parts }
    }

    /// The same document between `before` and `after`: the framing of an event.
    #[must_use]
    pub(crate) fn framed(mut self, before: &str, after: &str) -> Self {
        self.parts.insert(0, Part::Text(before.to_owned()));
        self.parts.push(Part::Text(after.to_owned()));
        self
    }

    /// Fills the holes named in `values` with JSON values; the others stay open.
    pub(crate) fn bind(&self, values: &[(&str, Value)]) -> Self {
        let mut parts: Vec<Part> = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let text = match part {
                Part::Text(text) => text.clone(),
                Part::Hole(name) => match values.iter().find(|(known, _)| known == name) {
                    Some((_, value)) => value.to_string(),
                    None => {
                        parts.push(Part::Hole(name.clone()));
                        continue;
                    }
                },
            };
            match parts.last_mut() {
                Some(Part::Text(last)) => last.push_str(&text),
                _ => parts.push(Part::Text(text)),
            }
        }
        Self { parts }
    }

    /// Renders with every remaining hole filled by the one JSON string `piece`.
    pub(crate) fn render_piece(&self, piece: &str) -> Bytes {
        self.render_raw(&Value::from(piece).to_string())
    }

    /// Renders with every remaining hole filled by `json`, which is written as it is.
    pub(crate) fn render_raw(&self, json: &str) -> Bytes {
        let size = self.parts.iter().map(|part| part.size(json.len())).sum();
        let mut out = String::with_capacity(size);
        for part in &self.parts {
            out.push_str(match part {
                Part::Text(text) => text,
                Part::Hole(_) => json,
            });
        }
        Bytes::from(out)
    }

    /// Renders a fully bound template.
    pub(crate) fn render(&self, values: &[(&str, Value)]) -> Bytes {
        self.bind(values).render_raw("null")
    }

    /// Names of the open holes.
    #[cfg(test)]
    pub(crate) fn holes(&self) -> Vec<&str> {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Hole(name) => Some(name.as_str()),
                Part::Text(_) => None,
            })
            .collect()
    }
}

impl Part {
    fn size(&self, hole: usize) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Hole(_) => hole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_hole_is_a_json_value_and_an_open_one_waits() {
        let template = Template::json(r#"{ "a": "{{a}}", "b": ["{{b}}"] }"#).bind(&[("a", Value::from(1))]);
        assert_eq!(template.holes(), ["b"]);
        assert_eq!(template.render_piece("q\"\n"), r#"{"a":1,"b":["q\"\n"]}"#);
    }

    #[test]
    fn a_left_out_member_leaves_no_trace() {
        let template = Template::json_without(r#"{"a": 1, "usage": null, "b": 2}"#, "usage");
        assert_eq!(template.render(&[]), r#"{"a":1,"b":2}"#);
    }

    #[test]
    fn a_frame_surrounds_the_document() {
        let template = Template::json(r#"{"a": "{{a}}"}"#).framed("data: ", "\n\n");
        assert_eq!(template.render(&[("a", Value::Null)]), "data: {\"a\":null}\n\n");
    }
}
