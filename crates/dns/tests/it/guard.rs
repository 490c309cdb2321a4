//! Cookies and the rate limit, over a socket that says where packets come from: loopback cannot be forged, so it is
//! never limited.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::rr::RecordType;
use meridian_dns::{CookieSecrets, Options, RateLimit, Service};
use meridian_host::{Datagram, Host};
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_types::CommitId;
use prometheus_client::registry::Registry;
use tokio::sync::{Mutex, mpsc};

use crate::world::{Query, configuration, plan, raw_option, zone};

const COOKIE: u16 = 10;
const BADCOOKIE: u16 = 23;
const SECRET: &[u8] = b"00112233445566778899aabbccddeeff";
const VICTIM: &str = "203.0.113.7:53";
/// Enough to be far over the limit.
const FLOOD: usize = 400;

type Packet = (Vec<u8>, SocketAddr);

/// A datagram socket between two channels.
struct Wire {
    queries: Mutex<mpsc::UnboundedReceiver<Packet>>,
    answers: mpsc::UnboundedSender<Packet>,
}

#[async_trait]
impl Datagram for Wire {
    async fn recv_from(&self, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
        let Some((bytes, from)) = self.queries.lock().await.recv().await else { return std::future::pending().await };
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok((bytes.len(), from))
    }
    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> std::io::Result<usize> {
        self.answers.send((bytes.to_vec(), to)).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }
    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 53)))
    }
}

struct Authority {
    queries: mpsc::UnboundedSender<Packet>,
    answers: mpsc::UnboundedReceiver<Packet>,
    _trigger: ShutdownTrigger,
}

impl Authority {
    async fn start(bytes_per_s: u32) -> Self {
        Self::with_secret(bytes_per_s, SECRET).await
    }

    async fn with_secret(bytes_per_s: u32, secret: &[u8]) -> Self {
        let (queries, incoming) = mpsc::unbounded_channel();
        let (outgoing, answers) = mpsc::unbounded_channel();
        let host = Host::real();
        let options = Options {
            udp: vec![Box::new(Wire { queries: Mutex::new(incoming), answers: outgoing })],
            tcp: host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap(),
            geo: None,
            geo_file: None,
            node: "node-1".to_owned(),
            host,
            cookies: Some(CookieSecrets::parse(secret).unwrap()),
            rate_limit: Some(RateLimit { bytes_per_s }),
            query_log_one_in: None,
        };
        let service = Service::new(options, &mut Registry::default());
        service.handle().update(CommitId(3), Arc::new(configuration(zone())), Some(Arc::new(plan())));
        let (_trigger, seen) = shutdown();
        tokio::spawn(service.run(seen));
        Self { queries, answers, _trigger }
    }

    /// The answer to one query from `source`; `None`: silence.
    async fn ask(&mut self, query: &Query, source: &str) -> Option<Vec<u8>> {
        // What loopback asks is always answered, and answers come in order.
        let beacon: SocketAddr = "127.0.0.1:53".parse().unwrap();
        self.queries.send((query.bytes(), source.parse().unwrap())).unwrap();
        self.queries.send((Query::new("www", RecordType::A).bytes(), beacon)).unwrap();
        let first = self.answers.recv().await.unwrap();
        if first.1 == beacon {
            return None;
        }
        assert_eq!(self.answers.recv().await.unwrap().1, beacon);
        Some(first.0)
    }
}

fn cookie(bytes: &[u8]) -> Query {
    Query::new("www", RecordType::A).option(COOKIE, bytes)
}

/// With the bits that only an OPT record holds.
fn rcode(answer: &[u8]) -> u16 {
    let extended = answer.windows(3).rposition(|opt| opt == [0, 0, 41]).map_or(0, |at| answer[at + 5]);
    u16::from(extended) << 4 | u16::from(answer[3] & 0xF)
}

fn is_truncated(answer: &[u8]) -> bool {
    answer[2] & 2 != 0
}

#[tokio::test(start_paused = true)]
async fn a_flood_without_cookies_is_cut_down_to_truncated_answers_and_silence() {
    let mut authority = Authority::start(2_000).await;
    let (mut whole, mut truncated, mut silent) = (0, 0, 0);
    for _ in 0..FLOOD {
        match authority.ask(&Query::new("www", RecordType::A), VICTIM).await {
            Some(answer) if is_truncated(&answer) => {
                assert!(answer.len() <= Query::new("www", RecordType::A).bytes().len(), "no amplification");
                truncated += 1;
            }
            Some(_) => whole += 1,
            None => silent += 1,
        }
    }
    assert!(whole < 100 && truncated > 100 && silent > 100, "{whole} {truncated} {silent}");
}

#[tokio::test(start_paused = true)]
async fn a_client_with_our_cookie_is_spared_and_one_with_a_strange_cookie_is_told_the_right_one() {
    let mut authority = Authority::start(2_000).await;
    let first = authority.ask(&cookie(&[7; 8]), VICTIM).await.expect("an answer");
    let issued = raw_option(&first, COOKIE).expect("a cookie");
    // The network's account is used up by others.
    for _ in 0..FLOOD {
        authority.ask(&Query::new("www", RecordType::A), VICTIM).await;
    }
    for _ in 0..FLOOD {
        let answer = authority.ask(&cookie(&issued), VICTIM).await.expect("spared");
        assert_eq!((rcode(&answer), answer[7], is_truncated(&answer)), (0, 2, false));
    }
    // A cookie is its owner's alone.
    let mut hints = 0;
    for _ in 0..10 {
        let Some(answer) = authority.ask(&cookie(&issued), "203.0.113.8:53").await else { continue };
        assert_eq!((rcode(&answer), answer[7], is_truncated(&answer)), (BADCOOKIE, 0, false));
        let fresh = raw_option(&answer, COOKIE).expect("a cookie");
        let answer = authority.ask(&cookie(&fresh), "203.0.113.8:53").await.expect("spared");
        assert_eq!((rcode(&answer), answer[7]), (0, 2));
        hints += 1;
    }
    assert!(hints > 0, "one in two is told");
}

#[tokio::test(start_paused = true)]
async fn a_cookie_of_one_authority_is_taken_by_all_that_share_its_secret_and_by_no_other() {
    let mut issuer = Authority::start(2_000).await;
    let issued = raw_option(&issuer.ask(&cookie(&[7; 8]), VICTIM).await.expect("an answer"), COOKIE).expect("a cookie");
    for (secret, is_shared) in [(SECRET, true), (b"ffeeddccbbaa99887766554433221100", false)] {
        let mut other = Authority::with_secret(2_000, secret).await;
        for _ in 0..FLOOD {
            other.ask(&Query::new("www", RecordType::A), VICTIM).await;
        }
        // One in two over the limit is told what to do, the other one nothing.
        for _ in 0..2 {
            match other.ask(&cookie(&issued), VICTIM).await {
                Some(answer) => assert_eq!(rcode(&answer), if is_shared { 0 } else { BADCOOKIE }),
                None => assert!(!is_shared),
            }
        }
    }
}
