//! A log of what happened in a simulation. Two runs of one seed must give the same hash.

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// Ordered lines with their hash; cheap to clone, clones share it.
#[derive(Debug, Clone, Default)]
pub struct EventLog {
    lines: Arc<Mutex<Vec<String>>>,
}

impl EventLog {
    /// Appends a line.
    pub fn push(&self, line: impl Into<String>) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.into());
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// SHA-256 of all lines, hexadecimal.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for line in self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            hasher.update(line.as_bytes());
            hasher.update(b"\n");
        }
        hex::encode(hasher.finalize())
    }
}
