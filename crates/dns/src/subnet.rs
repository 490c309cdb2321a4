//! Client subnet (RFC 7871): the strict reading of the option, and the unit of clients that are answered alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::ranges::Family;

/// Clients of one such IPv4 network are answered alike; longer prefixes are not looked at (RFC 7871 section 11.1).
pub(crate) const UNIT_V4: u8 = 24;
/// The same for IPv6: what one site usually has.
pub(crate) const UNIT_V6: u8 = 48;

/// FAMILY, SOURCE PREFIX-LENGTH and SCOPE PREFIX-LENGTH, before the address.
const FIXED_PART: usize = 4;

/// An option that a query carried, found to be well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet<'a> {
    /// The option's data as it came: the answer has to echo it.
    raw: &'a [u8],
    /// `None`: the client opted out.
    address: Option<IpAddr>,
}

/// What makes an option malformed; every kind is answered with FORMERR (RFC 7871 section 7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    TooShort,
    TooLong,
    UnknownFamily,
    PrefixTooLarge,
    ScopeNotZero,
    BitsPastPrefix,
}

impl<'a> Subnet<'a> {
    pub(crate) fn parse(raw: &'a [u8]) -> Result<Self, Malformed> {
        let Some((&[family_high, family_low, source, scope], address)) = raw.split_first_chunk::<FIXED_PART>() else {
            return Err(Malformed::TooShort);
        };
        let family = u16::from_be_bytes([family_high, family_low]);
        let bits = match family {
            // Not in the RFC, but `dig +subnet=0` sends it, and it can only mean an opt-out.
            0 => 0,
            1 => 32,
            2 => 128,
            _ => return Err(Malformed::UnknownFamily),
        };
        if source > bits {
            return Err(if family == 0 { Malformed::UnknownFamily } else { Malformed::PrefixTooLarge });
        }
        if scope != 0 {
            return Err(Malformed::ScopeNotZero);
        }
        let expected = usize::from(source.div_ceil(8));
        match address.len() {
            n if n < expected => return Err(Malformed::TooShort),
            n if n > expected => return Err(Malformed::TooLong),
            _ => {}
        }
        let spare = u32::from(source.wrapping_neg() % 8);
        if address.last().is_some_and(|last| last.trailing_zeros() < spare) {
            return Err(Malformed::BitsPastPrefix);
        }
        let address = (source > 0).then(|| widen(family, address));
        Ok(Self { raw, address })
    }

    /// The address to answer for: none if the client opted out or if the address says nothing about where it is.
    pub(crate) fn usable(&self) -> Option<IpAddr> {
        self.address.filter(|address| is_routable(*address))
    }

    /// The option's data for the answer: as it came, with the scope set.
    pub(crate) fn echo(&self, scope: u8, out: &mut Vec<u8>) {
        let (fixed, address) = self.raw.split_at_checked(FIXED_PART - 1).unwrap_or((self.raw, &[]));
        out.extend_from_slice(fixed);
        out.push(scope);
        out.extend_from_slice(address.get(1..).unwrap_or_default());
    }
}

/// The address with the octets that were left out as zeros.
fn widen(family: u16, octets: &[u8]) -> IpAddr {
    let mut full = [0; 16];
    for (to, from) in full.iter_mut().zip(octets) {
        *to = *from;
    }
    if family == 1 {
        let [a, b, c, d, ..] = full;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        IpAddr::V6(Ipv6Addr::from(full))
    }
}

/// Whether an address can say where a client is. Documentation networks count: nobody routes them, but nobody else
/// uses them either, and tests need some.
fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            let reserved = v4.octets()[0] == 0 || v4.octets()[0] >= 224;
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared || reserved)
        }
        // Global unicast is 2000::/3 (RFC 4291 section 2.4); everything else is local, mapped or unassigned.
        IpAddr::V6(v6) => v6.segments()[0] >> 13 == 1,
    }
}

/// The clients that are answered alike: an IPv4 /24 or an IPv6 /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit(IpNet);

impl Unit {
    pub(crate) fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { UNIT_V4 } else { UNIT_V6 };
        Self(IpNet::new_assert(address, prefix).trunc())
    }

    /// Its first address, which stands for all of them.
    pub(crate) fn address(self) -> IpAddr {
        self.0.addr()
    }

    /// Its prefix length: the scope of an answer that holds for this unit alone.
    pub(crate) fn prefix(self) -> u8 {
        self.0.prefix_len()
    }

    /// Its number among its family's units.
    pub(crate) fn number(self) -> (Family, u64) {
        match self.0.addr() {
            IpAddr::V4(v4) => (Family::V4, u64::from(v4.to_bits() >> (32 - UNIT_V4))),
            IpAddr::V6(v6) => (Family::V6, (v6.to_bits() >> (128 - UNIT_V6)) as u64),
        }
    }

    /// What is hashed. The families cannot collide: an IPv6 unit has the highest bit set.
    pub(crate) fn key(self) -> u64 {
        match self.0.addr() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => {
                let high = (v6.to_bits() >> 80) as u64;
                high | 1 << 63
            }
        }
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_malformed_kind_is_told_apart() {
        let check = |raw: &[u8], expected: Malformed| assert_eq!(Subnet::parse(raw), Err(expected), "{raw:?}");
        check(&[0, 1, 24], Malformed::TooShort);
        check(&[0, 1, 24, 0, 203, 0], Malformed::TooShort);
        check(&[0, 1, 24, 0, 203, 0, 113, 0], Malformed::TooLong);
        check(&[0, 3, 24, 0, 203, 0, 113], Malformed::UnknownFamily);
        check(&[0, 0, 24, 0, 203, 0, 113], Malformed::UnknownFamily);
        check(&[0, 1, 33, 0, 203, 0, 113, 1, 0], Malformed::PrefixTooLarge);
        check(&[0, 2, 129, 0], Malformed::PrefixTooLarge);
        check(&[0, 1, 24, 24, 203, 0, 113], Malformed::ScopeNotZero);
        check(&[0, 1, 20, 0, 203, 0, 0x71], Malformed::BitsPastPrefix);
    }

    #[test]
    fn a_usable_address_is_routable_and_not_withheld() {
        let check = |raw: &[u8], expected: Option<&str>| {
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(Subnet::parse(raw).unwrap().usable(), expected, "{raw:?}");
        };
        check(&[0, 1, 24, 0, 203, 0, 113], Some("203.0.113.0"));
        check(&[0, 1, 20, 0, 203, 0, 0x70], Some("203.0.112.0"));
        check(&[0, 2, 32, 0, 0x20, 0x01, 0x0d, 0xb8], Some("2001:db8::"));
        check(&[0, 1, 0, 0], None);
        check(&[0, 2, 0, 0], None);
        check(&[0, 0, 0, 0], None);
        for private in [[10, 0, 0], [192, 168, 1], [127, 0, 0], [100, 64, 0], [169, 254, 0], [0, 0, 0], [239, 1, 1]] {
            let [a, b, c] = private;
            check(&[0, 1, 24, 0, a, b, c], None);
        }
        check(&[0, 2, 16, 0, 0xfd, 0x00], None);
    }

    #[test]
    fn the_echo_differs_in_the_scope_alone() {
        let mut out = Vec::new();
        Subnet::parse(&[0, 1, 24, 0, 203, 0, 113]).unwrap().echo(17, &mut out);
        assert_eq!(out, [0, 1, 24, 17, 203, 0, 113]);
    }

    #[test]
    fn units_of_the_two_families_have_different_keys() {
        let unit = |address: &str| Unit::of(address.parse().unwrap());
        assert_eq!(unit("203.0.113.77").to_string(), "203.0.113.0/24");
        assert_eq!(unit("::ffff:203.0.113.77"), unit("203.0.113.1"));
        assert_eq!(unit("2001:db8:1:2::3").to_string(), "2001:db8:1::/48");
        assert_ne!(unit("2001:db8:1::").key(), unit("2001:db8:2::").key());
        assert!(unit("::").key() != unit("0.0.0.0").key());
    }
}
