//! Rules about the workspace itself that no compiler checks: which crate may use which, what the lock file may hold, what
//! a source file looks like.

mod directions;
mod files;
mod lock;
mod metadata;
