//! The simulator from outside: real sockets, a small client of its own, each wire format and each fault.
#[cfg(test)]
mod client;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod records;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod wire;
