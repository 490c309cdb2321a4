//! The authority as clients see it: packets in, packets out.

#[cfg(test)]
mod authority;
#[cfg(test)]
mod edns;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod geo;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod naming;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod steering;
#[cfg(test)]
mod world;
