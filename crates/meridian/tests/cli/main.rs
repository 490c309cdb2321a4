//! The binary's verbs as an operator uses them, against an admin API in this process.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod plane;
#[cfg(test)]
mod secured;
