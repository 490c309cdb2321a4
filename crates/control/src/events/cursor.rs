//! Places in the stream of events, and how a client carries them from one replica to another.

use std::fmt;
use std::str::FromStr;

/// A place in the order of events: after the event `index` of a revision; 0: before its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub(crate) revision: u64,
    pub(crate) index: u32,
}

/// A place with the history that it is a place of: written as `<cluster id, hexadecimal>-<epoch>-<revision>-<index>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) cluster_id: u64,
    pub(crate) epoch: u64,
    pub(crate) place: Place,
}

/// A text that no replica made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor must be one that a replica gave, or empty")]
pub(crate) struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster_id, epoch, place: Place { revision, index } } = self;
        write!(f, "{cluster_id:x}-{epoch}-{revision}-{index}")
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let parts: Vec<&str> = text.split('-').collect();
        let [cluster_id, epoch, revision, index] = parts.as_slice() else { return Err(NoCursor) };
        Ok(Self {
            cluster_id: u64::from_str_radix(cluster_id, 16).map_err(|_| NoCursor)?,
            epoch: epoch.parse().map_err(|_| NoCursor)?,
            place: Place {
                revision: revision.parse().map_err(|_| NoCursor)?,
                index: index.parse().map_err(|_| NoCursor)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_does() {
        let cursor = Cursor { cluster_id: u64::MAX, epoch: 3, place: Place { revision: 77, index: 2 } };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1", "1-2-3", "1-2-3-4-5", "x-1-1-1", "1-1-1--1", "1-1-1-99999999999"] {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
    }
}
