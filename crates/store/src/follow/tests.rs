//! A follower over a store that fails on purpose.
