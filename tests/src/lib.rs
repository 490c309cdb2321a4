//! Tests from outside live in this package's `tests/` directory.
