//! Steps of the state machine that no battery case reaches.
