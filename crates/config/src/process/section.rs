//! Reads the keys of one mapping and remembers which it was asked for: the others are unknown.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use meridian_types::ErrorCode;

use crate::mistake::{Located, Place};
use crate::suggest;
use crate::yaml::{Node, Position, Value};

/// One mapping, or one that was not written: then every key of it is missing.
pub(super) struct Section<'a> {
    file: &'a Arc<str>,
    base: &'a Path,
    node: &'a Node,
    path: String,
    asked: Vec<&'static str>,
    mistakes: Vec<Located>,
}

impl<'a> Section<'a> {
    pub(super) fn root(file: &'a Arc<str>, base: &'a Path, node: &'a Node) -> Self {
        let mut section = Self { file, base, node, path: String::new(), asked: Vec::new(), mistakes: Vec::new() };
        section.must_be_mapping();
        section
    }

    /// A text or number that has to be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            self.missing(key, allowed);
            return None;
        }
        self.optional(key, allowed, parse)
    }

    /// A text or number that may be there; `None` also when it is wrong, which has been noted then.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(key)?;
        let path = self.path_of(key);
        self.scalar(node, &path, allowed, parse)
    }

    /// A list of texts; empty if it is not there.
    pub(super) fn list<T>(&mut self, key: &'static str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Value::List(items) = &node.value else {
            self.add(node.at, &path, ErrorCode::InvalidField, format!("write a list; each entry: {allowed}"));
            return Vec::new();
        };
        let items = items.iter().enumerate();
        items.filter_map(|(i, item)| self.scalar(item, &format!("{path}[{i}]"), allowed, &parse)).collect()
    }

    /// A mapping that may be there.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'a>) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(key)?;
        let path = self.path_of(key);
        let mut section =
            Section { file: self.file, base: self.base, node, path, asked: Vec::new(), mistakes: Vec::new() };
        let value = if section.must_be_mapping() { read(&mut section) } else { None };
        self.mistakes.extend(section.finish());
        value
    }

    /// Whether `key` is written, rightly or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node.entries().is_some_and(|entries| entries.iter().any(|entry| entry.key == key))
    }

    /// A path, relative to the file.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let base = self.base;
        self.optional(key, "a path", |text| (!text.is_empty()).then(|| base.join(text)))
    }

    pub(super) fn required_path(&mut self, key: &'static str) -> Option<PathBuf> {
        let base = self.base;
        self.required(key, "a path", |text| (!text.is_empty()).then(|| base.join(text)))
    }

    /// A mistake in the value of `key`.
    pub(super) fn refuse(&mut self, key: &'static str, text: impl Into<String>) {
        let at = self.node.locate(key);
        let path = self.path_of(key);
        self.add(at, &path, ErrorCode::InvalidField, text.into());
    }

    pub(super) fn missing(&mut self, key: &'static str, allowed: &str) {
        self.asked.push(key);
        let path = self.path_of(key);
        self.add(self.node.at, &path, ErrorCode::MissingField, format!("this key is required: {allowed}"));
    }

    /// Everything that was wrong, keys that nobody asked for included.
    pub(super) fn finish(mut self) -> Vec<Located> {
        for entry in self.node.entries().unwrap_or_default() {
            if !self.asked.contains(&entry.key.as_str()) {
                let mut allowed = self.asked.clone();
                allowed.sort_unstable();
                allowed.dedup();
                let text = format!("unknown key{}", suggest::allowed(&entry.key, &allowed));
                let path = self.path_of(&entry.key);
                self.add(entry.key_at, &path, ErrorCode::InvalidField, text);
            }
        }
        self.mistakes.sort();
        self.mistakes
    }

    fn must_be_mapping(&mut self) -> bool {
        let is_mapping = self.node.entries().is_some();
        if !is_mapping {
            let (at, path) = (self.node.at, self.path.clone());
            self.add(at, &path, ErrorCode::InvalidField, format!("a mapping is needed; this is {}", self.node.what()));
        }
        is_mapping
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        self.node.entries()?.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    fn scalar<T>(&mut self, node: &Node, path: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(value) => Some(value.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        };
        let parsed = text.as_deref().and_then(parse);
        if parsed.is_none() {
            let what = match text {
                Some(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
                None => node.what().to_owned(),
            };
            self.add(node.at, path, ErrorCode::InvalidField, format!("{what} is not allowed; write {allowed}"));
        }
        parsed
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn add(&mut self, at: Position, path: &str, code: ErrorCode, text: String) {
        let place = Place::new(self.file, at);
        self.mistakes.push(Located { place, resource: String::new(), path: path.to_owned(), code, text });
    }
}

/// Whole seconds, `30s`.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

/// `host:port`.
pub(super) fn host_port(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    (!host.is_empty() && port != 0).then(|| text.to_owned())
}
