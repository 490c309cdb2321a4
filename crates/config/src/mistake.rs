//! What is wrong in a file, and where.

use std::fmt;
use std::sync::Arc;

use meridian_types::{ErrorCode, Mistake};

use crate::yaml::Position;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As the operator named it; empty for what stands in no file.
    pub file: Arc<str>,
    /// From 1; 0: the file as a whole.
    pub line: u64,
    /// From 1.
    pub column: u64,
}

/// A mistake with its place. Ordered by place, as a reader works through a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Located {
    /// Where.
    pub place: Place,
    /// `Model/gpt-4o`; empty where no resource is known.
    pub resource: String,
    /// `tiers[0].targets[1].provider`; empty for the whole.
    pub path: String,
    /// For programs.
    pub code: ErrorCode,
    /// What is wrong and what is allowed.
    pub text: String,
}

impl Place {
    pub(crate) fn new(file: &Arc<str>, at: Position) -> Self {
        Self { file: file.clone(), line: at.line, column: at.column }
    }
}

impl Located {
    /// A mistake that validation found, at the place where it was written.
    pub fn from_mistake(place: Place, mistake: Mistake) -> Self {
        let resource = format!("{}/{}", mistake.kind, mistake.name);
        Self { place, resource, path: mistake.path, code: mistake.code, text: mistake.text }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.file.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        for part in [&self.resource, &self.path] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.text)
    }
}
