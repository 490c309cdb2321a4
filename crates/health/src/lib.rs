//! Evidence to verdict; pure.
