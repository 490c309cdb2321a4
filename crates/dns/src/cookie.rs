//! DNS cookies (RFC 7873, RFC 9018): who brings one back has shown that its address is its own.
//!
//! A server cookie is computed, never stored. Every authority with the same secret takes the others' cookies, also those
//! of other programs: the construction is the RFC's.

use std::hash::Hasher;
use std::net::IpAddr;
use std::path::Path;

use meridian_host::{Entropy, Files};
use siphasher::sip::SipHasher24;

/// Length of the client's part.
pub(crate) const CLIENT: usize = 8;
/// Lengths that a server's part may have (RFC 7873 section 4).
const SERVER: std::ops::RangeInclusive<usize> = 8..=32;

/// The construction of RFC 9018 section 4: version, three reserved bytes, time, hash.
const VERSION: u8 = 1;

/// How long a cookie is taken, and how far the clocks of two authorities may be apart (RFC 9018 section 4.3).
const MAX_AGE_S: u32 = 3600;
const MAX_AHEAD_S: u32 = 300;

/// The one that makes cookies, the one before, the next one: more are not needed to change secrets without a gap
/// (RFC 9018 section 5).
const MAX_SECRETS: usize = 3;

/// A cookie as a query carried it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cookie<'a> {
    pub(crate) client: [u8; CLIENT],
    /// Empty if the client has none of ours yet.
    pub(crate) server: &'a [u8],
}

/// A whole cookie for an answer.
pub(crate) type Issued = [u8; 24];

/// Secrets that cookies are made with: the first one makes them, all are recognised.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieSecrets(Vec<[u8; 16]>);

/// Why secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CookieError {
    /// The file cannot be read.
    #[error("the file of cookie secrets cannot be read")]
    Read(#[source] std::io::Error),
    /// It does not hold what it should. The text is not repeated: it may be a secret.
    #[error("cookie secrets are 1 to {MAX_SECRETS} lines of 32 hexadecimal digits; line {0} is not one of them")]
    Malformed(usize),
}

impl<'a> Cookie<'a> {
    /// `None`: malformed (RFC 7873 section 5.2.2).
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let (client, server) = value.split_first_chunk()?;
        (server.is_empty() || SERVER.contains(&server.len())).then_some(Self { client: *client, server })
    }
}

impl CookieSecrets {
    /// Reads a file that all authorities of a fleet hold: a secret a line, 32 hexadecimal digits each, the one that
    /// makes cookies first. To change it, add the new one as the last line everywhere, then make it the first line
    /// everywhere, then remove the old one after an hour.
    pub async fn load(files: &dyn Files, path: &Path) -> Result<Self, CookieError> {
        let bytes = files.read(path).await.map_err(CookieError::Read)?;
        Self::parse(&bytes)
    }

    /// As in [`CookieSecrets::load`], from the file's content.
    pub fn parse(text: &[u8]) -> Result<Self, CookieError> {
        let lines: Vec<&[u8]> = text.trim_ascii().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
        if lines.len() > MAX_SECRETS {
            return Err(CookieError::Malformed(MAX_SECRETS.saturating_add(1)));
        }
        let parsed = lines.iter().zip(1..).map(|(line, number)| hex(line).ok_or(CookieError::Malformed(number)));
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// A secret that no other authority has: clients then start anew with each of them.
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut secret = [0; 16];
        entropy.fill(&mut secret);
        Self(vec![secret])
    }

    /// Whether the client at `source` got this cookie from one of us not long ago.
    pub(crate) fn recognises(&self, cookie: &Cookie<'_>, source: IpAddr, now_unix_s: u32) -> bool {
        let Some((head, hash)) = cookie.server.split_first_chunk::<8>() else { return false };
        let [VERSION, _, _, _, t0, t1, t2, t3] = *head else { return false };
        // Times wrap around (RFC 1982), so only their distance counts.
        let age = now_unix_s.wrapping_sub(u32::from_be_bytes([t0, t1, t2, t3]));
        let is_timely = age <= MAX_AGE_S || age.wrapping_neg() <= MAX_AHEAD_S;
        is_timely && self.0.iter().any(|secret| digest(secret, &cookie.client, head, source) == *hash)
    }

    /// A fresh cookie for the client at `source`.
    pub(crate) fn issue(&self, client: [u8; CLIENT], source: IpAddr, now_unix_s: u32) -> Issued {
        let [t0, t1, t2, t3] = now_unix_s.to_be_bytes();
        let head = [VERSION, 0, 0, 0, t0, t1, t2, t3];
        let hash = self.0.first().map(|secret| digest(secret, &client, &head, source)).unwrap_or_default();
        let mut issued = [0; 24];
        for (to, from) in issued.iter_mut().zip(client.iter().chain(&head).chain(&hash)) {
            *to = *from;
        }
        issued
    }
}

impl std::fmt::Debug for CookieSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CookieSecrets({})", self.0.len())
    }
}

/// RFC 9018 section 4.4. The RFC's numbers are little-endian, as SipHash's reference implementation writes them.
fn digest(secret: &[u8; 16], client: &[u8; CLIENT], head: &[u8; 8], source: IpAddr) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(client);
    hasher.write(head);
    match source.to_canonical() {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.finish().to_le_bytes()
}

fn hex(text: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 32)?;
    // `from_str_radix` takes a sign, which is no digit.
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn cookies_are_those_of_the_rfc() {
        // RFC 9018 appendices A.1 and A.4.
        let check = |secret: &str, client: &str, source: &str, now_unix_s: u32, expected: &str| {
            let secrets = CookieSecrets::parse(secret.as_bytes()).unwrap();
            let client = bytes(client).try_into().unwrap();
            let issued = secrets.issue(client, source.parse().unwrap(), now_unix_s);
            assert_eq!(issued.to_vec(), bytes(expected));
        };
        check(
            "e5e973e5a6b2a43f48e7dc849e37bfcf",
            "2464c4abcf10c957",
            "198.51.100.100",
            1_559_731_985,
            "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
        );
        check(
            "445536bcd2513298075a5d379663c962",
            "22681ab97d52c298",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            1_559_741_961,
            "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
        );
    }

    #[test]
    fn a_cookie_is_taken_from_its_client_for_an_hour_under_every_secret_that_is_held() {
        let (old, new) = ("00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100");
        let held = |text: &str| CookieSecrets::parse(text.as_bytes()).unwrap();
        let (here, there): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let made = 4_294_967_000; // 296 s before the clock wraps around.
        let issued = held(old).issue([7; 8], here, made);
        let check = |secrets: &str, source: IpAddr, after: u32, expected: bool| {
            let cookie = Cookie::parse(&issued).unwrap();
            let found = held(secrets).recognises(&cookie, source, made.wrapping_add(after));
            assert_eq!(found, expected, "{secrets} {source} {after}");
        };
        check(old, here, 0, true);
        check(old, here, 3600, true);
        check(old, here, 3601, false);
        check(old, here, 300u32.wrapping_neg(), true);
        check(old, here, 301u32.wrapping_neg(), false);
        check(old, there, 0, false);
        check(old, "::ffff:192.0.2.1".parse().unwrap(), 0, true);
        check(new, here, 0, false);
        check(&format!("{new}\n{old}\n"), here, 0, true);
        for at in 8..24 {
            let mut bent = issued;
            bent[at] ^= 1;
            // A reserved byte is part of what is hashed.
            assert!(!held(old).recognises(&Cookie::parse(&bent).unwrap(), here, made), "byte {at}");
        }
        assert!(!held(old).recognises(&Cookie::parse(&issued[..16]).unwrap(), here, made));
    }

    #[test]
    fn lengths_that_no_cookie_has_are_malformed() {
        for length in 0..=60 {
            let expected = length == 8 || (16..=40).contains(&length);
            assert_eq!(Cookie::parse(&vec![1; length]).is_some(), expected, "{length}");
        }
    }

    #[test]
    fn secrets_are_lines_of_32_digits_and_do_not_show() {
        let good = "00112233445566778899aabbccddeeff";
        let check = |text: String, expected: Option<usize>| {
            let found = CookieSecrets::parse(text.as_bytes());
            assert_eq!(
                found.as_ref().err().map(ToString::to_string),
                expected.map(|n| CookieError::Malformed(n).to_string())
            );
            if let Ok(secrets) = found {
                assert!(!format!("{secrets:?}").contains("00"), "{secrets:?}");
            }
        };
        check(format!("{good}\n"), None);
        check(format!("{good}\r\n{good}\n{good}"), None);
        check(String::new(), Some(1));
        check(format!("{good}\n{good}0\n"), Some(2));
        check(format!("{good}\n+{}", &good[1..]), Some(2));
        check([good; 4].join("\n"), Some(4));
    }
}
