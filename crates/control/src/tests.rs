//! Whole services over a memory store.
