//! DNS zones and their steering.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::record::{Caa, Mx, ServiceBinding, ServiceParameters, Srv};
use crate::{Coordinates, DomainName, Jurisdiction, RegionName};

/// A zone that Meridian answers for.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// Its apex.
    pub name: DomainName,
    /// At least one; the first is the SOA's primary.
    pub nameservers: Vec<DomainName>,
    /// Mailbox in the SOA.
    pub hostmaster: DomainName,
    /// TTL of negative answers (RFC 2308).
    pub negative_ttl: Duration,
    /// Names whose addresses are steered.
    pub steered: Vec<SteeredName>,
    /// Names with fixed content.
    pub records: Vec<Record>,
    /// Where clients are; goes before what a database says.
    pub networks: Vec<(IpNet, ClientPlace)>,
}

/// Where the clients of a network are taken to be.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientPlace {
    /// There.
    At(Coordinates),
    /// Where this region is.
    Region(RegionName),
}

/// A name whose addresses depend on who asks and on what is healthy.
#[derive(Debug, Clone, PartialEq)]
pub struct SteeredName {
    /// Absolute.
    pub name: DomainName,
    /// How a region is chosen.
    pub policy: Policy,
    /// Candidates, in order of preference; never empty.
    pub regions: Vec<RegionName>,
    /// TTL of its answers.
    pub ttl: Duration,
    /// Addresses in one answer at most.
    pub max_addresses: usize,
    /// How much farther than the nearest region another one may be to share its clients under
    /// [`Policy::Nearest`]; 0: only the nearest has them.
    pub band_km: u32,
    /// Only regions in one of these are ever answered, also when none of them can serve; empty: anywhere.
    pub jurisdictions: Vec<Jurisdiction>,
    /// What its HTTPS and SVCB records say beside the addresses; `None`: it has none.
    pub https: Option<ServiceParameters>,
    /// What is answered when no region can serve.
    pub all_down: AllDown,
}

/// How a region is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nearest to the client, and where the plan places that region's clients.
    Nearest,
    /// By planned weight.
    Weighted,
    /// First in order that can serve.
    Failover,
}

/// What is answered when no region can serve.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AllDown {
    /// As if every region were healthy.
    FailOpen,
    /// This region's last known addresses.
    FailTo(RegionName),
    /// SERVFAIL.
    Refuse,
}

/// One RRset with fixed content.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Absolute; the first label may be `*`.
    pub name: DomainName,
    /// Its TTL.
    pub ttl: Duration,
    /// Its content; never empty.
    pub data: RecordData,
}

/// Content by type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordData {
    /// IPv4 addresses.
    A(Vec<Ipv4Addr>),
    /// IPv6 addresses.
    Aaaa(Vec<Ipv6Addr>),
    /// An alias.
    Cname(DomainName),
    /// Name servers of a delegated or of the own zone.
    Ns(Vec<DomainName>),
    /// Texts; each is cut into strings of 255 bytes.
    Txt(Vec<String>),
    /// Mail servers.
    Mx(Vec<Mx>),
    /// Services.
    Srv(Vec<Srv>),
    /// Who may issue certificates.
    Caa(Vec<Caa>),
    /// Names of an address, for reverse zones.
    Ptr(Vec<DomainName>),
    /// How to reach a service.
    Svcb(Vec<ServiceBinding>),
    /// How to reach the `https` service.
    Https(Vec<ServiceBinding>),
}
