//! A document that is no YAML: where reading stopped and why, in words about the file and not about a library.

use serde_saphyr::Error;

use super::Position;

/// A document that is no YAML.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) at: Position,
    pub(crate) text: String,
    /// What the document most likely declares, so that a reference to it is not called a mistake as well.
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Unreadable {
    /// `document` is the text that `error` is about; its first line is behind `lines_before` others.
    pub(super) fn new(document: &str, lines_before: u64, error: &Error) -> Self {
        let error = error.without_snippet();
        let at = error.location().map(super::position).unwrap_or(Position { line: 1, column: 1 });
        let at = Position { line: at.line.max(1) + lines_before, column: at.column.max(1) };
        Self {
            at,
            text: format!("unreadable YAML: {}", reason(error)),
            kind: top_level(document, "kind:"),
            name: top_level(document, "name:"),
        }
    }
}

/// Values stay out of it: one of them may be a secret.
fn reason(error: &Error) -> String {
    let text = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => return format!("the key {key:?} is written twice here"),
        Error::DuplicateMappingKey { .. } => "a key is written twice here",
        Error::NullIntoString { .. } => {
            "a key is missing here, or is null; a key must be text, `null` and `~` in quotes"
        }
        Error::Unexpected { .. } | Error::TaggedScalarCannotDeserializeIntoString { .. } => {
            "a key must be text, neither a list nor a mapping nor tagged"
        }
        Error::Eof { .. } => "the document ends too early",
        Error::UnknownAnchor { .. } => "this alias (*name) has no anchor (&name) before it in the document",
        Error::MergeValueNotMapOrSeqOfMaps { .. } | Error::MergeKeyNotAllowed { .. } => {
            "a merge key (<<) takes a mapping or a list of mappings"
        }
        Error::ContainerEndMismatch { .. } => "a list or mapping is closed with the wrong bracket",
        Error::FoldedBlockScalarMustIndentContent { .. } => "the text below a `>` must be indented",
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. }
        | Error::Budget { .. } => "it is too large, too deep, or repeats itself too often by aliases",
        Error::AliasError { error, .. } => return reason(error),
        // The scanner's words are about the text alone.
        Error::Message { msg, .. } | Error::ExternalMessage { msg, .. } => return first_line(msg).to_owned(),
        Error::InvalidScalar { .. } | Error::InvalidBinaryBase64 { .. } | Error::BinaryNotUtf8 { .. } => {
            "the value does not fit its tag"
        }
        Error::NonFiniteFloat { .. } => "a number must be finite; write text in quotes",
        _ => "this cannot be read; look at indentation, quotes, brackets and tags",
    };
    text.to_owned()
}

fn first_line(text: &str) -> &str {
    let text = text.split('\n').next().unwrap_or(text);
    // The place stands before the message already.
    text.split(" at line ").next().unwrap_or(text)
}

/// The plain value of a key at the start of a line.
fn top_level(document: &str, key: &str) -> String {
    let value = document.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let value = value.split(" #").next().unwrap_or(value);
    value.trim().trim_matches(['"', '\'']).to_owned()
}
