//! The way an exchange tells its connection how to die: hyper ends a connection on an error, this says with what last words.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Last words of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LastWords {
    /// Close (FIN).
    None,
    /// Reset (RST).
    Reset,
    /// These bytes as they are, then close.
    Raw(Bytes),
}

/// One per connection, shared by its exchanges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    words: Arc<Mutex<Option<LastWords>>>,
}

/// The error that makes hyper drop the connection.
#[derive(Debug, thiserror::Error)]
#[error("connection broken on purpose")]
pub(crate) struct BrokenOff;

impl Link {
    /// Breaks the connection; the caller returns the error to hyper.
    pub(crate) fn break_off(&self, words: LastWords) -> BrokenOff {
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
        BrokenOff
    }

    /// The last words, if the connection was broken on purpose.
    pub(crate) fn last_words(&self) -> Option<LastWords> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
