//! Response rate limiting: who forges a victim's address must not be able to send it much through us (BCP 140).
//!
//! Counted are the bytes of like answers to one network, over UDP, to clients that have not shown by a cookie that their
//! address is their own. Bytes and not answers: a resolver that asks on behalf of many client subnets gets many small
//! answers for the same name and is no attack.

use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use meridian_host::Entropy;
use meridian_types::DomainName;
use siphasher::sip::SipHasher24;
use tokio::time::Instant;

/// Networks that are counted as one: what one victim or one farm of resolvers usually has.
const NETWORK_V4: u32 = 24;
const NETWORK_V6: u32 = 56;

/// Accounts at a time: 1 MiB. With more at once the emptiest is forgotten, which errs to the side of answering.
const ACCOUNTS: usize = 65_536;
/// Accounts that share a place of the table.
const WAYS: usize = 4;

/// Of the answers over the limit, one in so many is sent truncated, so that a real client among the forged ones gets
/// through over TCP or by its cookie; the rest is dropped.
const SLIP: u64 = 2;

/// An account may be that far ahead of its rate: the queries that many clients send at the same moment.
const BURST_NS: u64 = NS_PER_S;
const NS_PER_S: u64 = 1_000_000_000;

/// How much one network is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Bytes of like answers a second to one IPv4 /24 or IPv6 /56.
    pub bytes_per_s: u32,
}

impl Default for RateLimit {
    /// 256 KiB/s: 2,500 usual answers a second, more than a large public resolver asks for one name from one network,
    /// and 2 Mbit/s at a victim.
    fn default() -> Self {
        Self { bytes_per_s: 256 * 1024 }
    }
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    /// Only that there is more elsewhere.
    Slip,
    Drop,
}

/// Answers that are alike. The name is no part of it: with a wildcard, an attacker has as many as he likes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Class<'a> {
    pub(crate) zone: Option<&'a DomainName>,
    pub(crate) qtype: Option<RecordType>,
    pub(crate) rcode: ResponseCode,
}

/// Accounts by network and class.
pub(crate) struct Limiter {
    ns_per_byte: u64,
    begun: Instant,
    /// So that nobody can choose networks that fall on the same place.
    key: [u8; 16],
    table: Mutex<Table>,
}

struct Table {
    accounts: Vec<[Account; WAYS]>,
    /// Answers over the limit so far.
    surplus: u64,
}

/// The generic cell rate algorithm: when the account will be even again, in nanoseconds since the limiter began.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    tag: u64,
    even_at_ns: u64,
}

impl Limiter {
    pub(crate) fn new(limit: RateLimit, entropy: &dyn Entropy) -> Self {
        let mut key = [0; 16];
        entropy.fill(&mut key);
        let accounts = vec![[Account::default(); WAYS]; ACCOUNTS / WAYS];
        Self {
            ns_per_byte: NS_PER_S / u64::from(limit.bytes_per_s.max(1)),
            begun: Instant::now(),
            key,
            table: Mutex::new(Table { accounts, surplus: 0 }),
        }
    }

    /// What becomes of an answer of so many bytes.
    pub(crate) fn judge(&self, source: IpAddr, class: Class<'_>, bytes: usize) -> Verdict {
        // The loopback network cannot be reached by a forged packet.
        if source.to_canonical().is_loopback() {
            return Verdict::Send;
        }
        let now_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let cost_ns = self.ns_per_byte.saturating_mul(bytes as u64);
        // It guards numbers that a panic cannot leave half changed.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.charge(self.tag(source, class), now_ns, cost_ns) {
            return Verdict::Send;
        }
        table.surplus = table.surplus.wrapping_add(1);
        if table.surplus.is_multiple_of(SLIP) { Verdict::Slip } else { Verdict::Drop }
    }

    fn tag(&self, source: IpAddr, class: Class<'_>) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        match network(source) {
            IpAddr::V4(network) => hasher.write_u32(network.to_bits()),
            IpAddr::V6(network) => hasher.write_u128(network.to_bits()),
        }
        hasher.write(class.zone.map(|zone| zone.as_str()).unwrap_or_default().as_bytes());
        hasher.write_u16(class.rcode.into());
        // Refusals are alike whatever was asked.
        let qtype = class.qtype.filter(|_| class.rcode == ResponseCode::NoError);
        hasher.write_u16(qtype.map_or(0, u16::from));
        hasher.finish()
    }
}

/// The network that an address is counted in: its first address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - NETWORK_V4))).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - NETWORK_V6))).into(),
    }
}

impl Table {
    /// Whether the account can bear the cost, which it then does.
    fn charge(&mut self, tag: u64, now_ns: u64, cost_ns: u64) -> bool {
        let places = self.accounts.len() as u64;
        let Some(place) = tag.checked_rem(places).and_then(|place| self.accounts.get_mut(place as usize)) else {
            return true;
        };
        let account = match place.iter().position(|account| account.tag == tag) {
            Some(at) => place.get_mut(at),
            None => place.iter_mut().min_by_key(|account| account.even_at_ns).map(|emptiest| {
                *emptiest = Account { tag, even_at_ns: 0 };
                emptiest
            }),
        };
        let Some(account) = account else { return true };
        let begins_ns = account.even_at_ns.max(now_ns);
        let is_within = begins_ns.saturating_sub(now_ns) <= BURST_NS;
        if is_within {
            account.even_at_ns = begins_ns.saturating_add(cost_ns);
        }
        is_within
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meridian_host::OsEntropy;
    use tokio::time::advance;

    use super::*;

    fn limiter() -> Limiter {
        Limiter::new(RateLimit { bytes_per_s: 10_000 }, &OsEntropy)
    }

    fn class(qtype: RecordType, rcode: ResponseCode) -> Class<'static> {
        Class { zone: None, qtype: Some(qtype), rcode }
    }

    const FOUND: Class<'static> = Class { zone: None, qtype: Some(RecordType::A), rcode: ResponseCode::NoError };

    /// Of 100 answers of 1,000 bytes: sent, slipped, dropped.
    fn flood(limiter: &Limiter, source: impl Fn(u8) -> String, class: Class<'_>) -> [usize; 3] {
        let mut counts = [0; 3];
        for i in 0..100 {
            counts[limiter.judge(source(i).parse().unwrap(), class, 1000) as usize] += 1;
        }
        counts
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_gets_its_burst_then_its_rate_and_every_second_answer_beyond_is_a_hint() {
        let limiter = limiter();
        let victim = |i: u8| format!("203.0.113.{i}");
        assert_eq!(flood(&limiter, victim, FOUND), [11, 44, 45]);
        advance(Duration::from_millis(500)).await;
        assert_eq!(flood(&limiter, victim, FOUND)[0], 5);
        advance(Duration::from_secs(60)).await;
        assert_eq!(flood(&limiter, victim, FOUND)[0], 11);
    }

    #[tokio::test(start_paused = true)]
    async fn neighbours_other_answers_and_the_machine_itself_are_not_held_up() {
        let limiter = limiter();
        let check = |source: &str, class: Class<'_>, expected: usize| {
            assert_eq!(flood(&limiter, |_| source.to_owned(), class)[0], expected, "{source} {class:?}");
        };
        check("203.0.113.7", FOUND, 11);
        check("203.0.113.200", FOUND, 0);
        check("::ffff:203.0.113.9", FOUND, 0);
        check("203.0.114.7", FOUND, 11);
        check("203.0.113.7", class(RecordType::AAAA, ResponseCode::NoError), 11);
        check("203.0.113.7", class(RecordType::A, ResponseCode::NXDomain), 11);
        check("203.0.113.7", class(RecordType::AAAA, ResponseCode::NXDomain), 0);
        check("2001:db8:1:1::1", FOUND, 11);
        check("2001:db8:1:2::1", FOUND, 0);
        check("2001:db8:1:100::1", FOUND, 11);
        check("127.0.0.1", FOUND, 100);
        check("::1", FOUND, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn with_more_networks_than_accounts_a_victim_is_still_limited_while_it_is_flooded() {
        let limiter = limiter();
        let mut sent = 0;
        for i in 0..4 * ACCOUNTS as u32 {
            let other = IpAddr::from((i << 8).to_be_bytes());
            limiter.judge(other, FOUND, 10);
            sent += usize::from(limiter.judge("203.0.113.7".parse().unwrap(), FOUND, 1000) == Verdict::Send);
        }
        // Its account is the fullest of its place, so that it is never the one that is forgotten.
        assert_eq!(sent, 11);
    }
}
