//! Rules about the workspace itself that no compiler checks: which crate may use which, what the lock file may hold, what
//! a source file looks like.

#[cfg(test)]
mod directions;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod files;
#[cfg(test)]
mod lock;
#[cfg(test)]
mod metadata;
