//! RFC 6891, 7871, 5001, 7828, 8914 and 3225: a case a rule.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use meridian_dns::{Snapshot, Transport, answer};
use meridian_types::RegionState;

use crate::world::{
    AP, CALIFORNIA, EU, NOWHERE, PARIS, Query, SINGAPORE, US, answered, option, plan, raw_option, shares, snapshot,
    subnet, with_state,
};

const NSID: u16 = 3;
const SUBNET: u16 = 8;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const EXTENDED_ERROR: u16 = 15;

fn reply(snapshot: &Snapshot, query: &Query, transport: Transport) -> Vec<u8> {
    answer(snapshot, &query.bytes(), NOWHERE, transport).expect("an answer")
}

#[test]
fn an_opt_record_is_sent_only_to_who_sent_one_and_says_what_we_take() {
    let snapshot = snapshot(Some(plan()));
    for name in ["www", "none", "api"] {
        assert!(Query::new(name, RecordType::A).ask(&snapshot).edns.is_none(), "{name}");
    }
    for (size, flags) in [(512, 0), (4096, 0x8000), (65535, 0x7FFF)] {
        let message = Query::new("www", RecordType::A).opt(size, 0, flags, &[]).ask(&snapshot);
        let edns = message.edns.expect("an OPT record");
        assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
        assert_eq!(edns.flags().dnssec_ok, flags & 0x8000 != 0, "copied");
        assert_eq!(edns.flags().z, 0);
    }
    let message = Query::new("www", RecordType::A).opt(4096, 9, 0, &[]).ask(&snapshot);
    let code = u16::from(message.metadata.response_code);
    assert_eq!((code, message.edns.unwrap().version()), (u16::from(ResponseCode::BADVERS), 0));
}

#[test]
fn options_are_answered_when_asked_for_and_unknown_ones_never() {
    let snapshot = snapshot(Some(plan()));
    let options = [option(NSID, &[]), option(KEEPALIVE, &[]), option(COOKIE, &[1; 8]), option(65001, b"x")].concat();
    let query = Query::new("www", RecordType::A).opt(4096, 0, 0, &options);
    let (udp, tcp) = (reply(&snapshot, &query, Transport::Udp), reply(&snapshot, &query, Transport::Tcp));
    assert_eq!(raw_option(&udp, NSID).as_deref(), Some(&b"node-1@plan-1.7"[..]));
    // The keepalive has no meaning outside a connection.
    assert_eq!(raw_option(&udp, KEEPALIVE), None);
    assert_eq!(raw_option(&tcp, KEEPALIVE), Some(100u16.to_be_bytes().to_vec()));
    for code in [COOKIE, 65001, SUBNET, EXTENDED_ERROR] {
        assert_eq!(raw_option(&udp, code), None, "{code}");
    }
    let plain = reply(&snapshot, &Query::new("www", RecordType::A).edns(), Transport::Udp);
    assert_eq!(raw_option(&plain, NSID), None);
}

#[test]
fn a_subnet_is_echoed_with_the_scope_of_the_answer() {
    let mut split = plan();
    split.regions.get_mut(EU).unwrap().placement = shares(&[(EU, 600), (US, 400)]);
    let snapshot = snapshot(Some(split));
    let check = |name: &str, network: &str, scope: u8| {
        let bytes = reply(&snapshot, &Query::new(name, RecordType::A).subnet(network), Transport::Udp);
        let mut expected = subnet(network);
        expected[3] = scope;
        assert_eq!(raw_option(&bytes, SUBNET), Some(expected), "{name} {network}");
    };
    check("api", PARIS, 24);
    check("api", SINGAPORE, 48);
    // A longer prefix than we look at, and a shorter one: the answer is that of the unit, and says so.
    check("api", "203.0.113.77/32", 24);
    check("api", "203.0.112.0/20", 24);
    check("split", PARIS, 24);
    check("primary", PARIS, 24);
    // The same for everybody: static, negative, below an alias, refused, a referral.
    check("www", PARIS, 0);
    check("none", PARIS, 0);
    check("alias2", PARIS, 0);
    check("alias", PARIS, 24);
    check("child", PARIS, 0);
    check("www.elsewhere.example.", PARIS, 0);
    // Opted out, or an address that says nothing.
    check("api", "0.0.0.0/0", 0);
    check("api", "::/0", 0);
    check("api", "10.1.2.0/24", 0);
    check("api", "fd00::/48", 0);
}

#[test]
fn a_failover_that_sends_everybody_to_one_place_holds_for_everybody() {
    let bytes = reply(&snapshot(Some(plan())), &Query::new("primary", RecordType::A).subnet(PARIS), Transport::Udp);
    assert_eq!(raw_option(&bytes, SUBNET).unwrap()[3], 0);
}

#[test]
fn who_opts_out_is_answered_by_the_resolvers_address() {
    let snapshot = snapshot(Some(plan()));
    let check = |network: &str, source: &str, first: &str| {
        let source: IpAddr = source.parse().unwrap();
        let message = Query::new("api", RecordType::A).subnet(network).ask_from(&snapshot, source, Transport::Udp);
        assert_eq!(answered(&message)[0], first, "{network} {source}");
    };
    check(PARIS, "198.51.100.7", "192.0.2.2");
    check("0.0.0.0/0", "198.51.100.7", "192.0.2.1");
    check("192.168.1.0/24", "198.51.100.7", "192.0.2.1");
    check(CALIFORNIA, "203.0.113.9", "192.0.2.1");
    check("::/0", "2001:db8:65::1", "192.0.2.3");
    check("::/0", "::ffff:203.0.113.9", "192.0.2.2");
}

#[test]
fn malformed_subnets_are_format_errors_with_an_opt_record_and_no_subnet() {
    let snapshot = snapshot(Some(plan()));
    let kinds: [(&str, &[u8]); 7] = [
        ("scope in a query", &[0, 1, 24, 24, 203, 0, 113]),
        ("bits past the prefix", &[0, 1, 20, 0, 203, 0, 0x71]),
        ("too long", &[0, 1, 24, 0, 203, 0, 113, 0]),
        ("too short", &[0, 1, 24, 0, 203, 0]),
        ("unknown family", &[0, 3, 24, 0, 203, 0, 113]),
        ("prefix too large", &[0, 1, 33, 0, 203, 0, 113, 1, 0]),
        ("empty", &[]),
    ];
    for (what, data) in kinds {
        let query = Query::new("api", RecordType::A).option(SUBNET, data);
        let message = query.ask(&snapshot);
        assert_eq!(message.metadata.response_code, ResponseCode::FormErr, "{what}");
        assert!(message.edns.is_some(), "{what}");
        assert_eq!(raw_option(&reply(&snapshot, &query, Transport::Udp), SUBNET), None, "{what}");
    }
    let twice = [option(SUBNET, &subnet(PARIS)), option(SUBNET, &subnet(PARIS))].concat();
    let message = Query::new("api", RecordType::A).opt(4096, 0, 0, &twice).ask(&snapshot);
    assert_eq!(message.metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn unusual_answers_say_why() {
    let down = [US, EU, AP].into_iter().fold(plan(), |plan, name| with_state(plan, name, RegionState::Down));
    let (up, down) = (snapshot(Some(plan())), snapshot(Some(down)));
    let check = |snapshot: &Snapshot, name: &str, expected: Option<u16>| {
        let bytes = reply(snapshot, &Query::new(name, RecordType::A).edns(), Transport::Udp);
        let code = raw_option(&bytes, EXTENDED_ERROR).map(|data| u16::from_be_bytes([data[0], data[1]]));
        assert_eq!(code, expected, "{name}");
    };
    check(&up, "api", None);
    check(&up, "none", None);
    check(&up, "www.elsewhere.example.", Some(20));
    check(&down, "api", Some(0));
    check(&down, "split", Some(0));
    check(&down, "primary", Some(0));
    check(&down, "www", None);
}

#[test]
fn the_longest_name_with_every_option_and_an_error_fits_the_smallest_client() {
    let down = [US, EU, AP].into_iter().fold(plan(), |plan, name| with_state(plan, name, RegionState::Drained));
    let mut zone = crate::world::zone();
    // A wildcard, so that the name can be as long as names are.
    let mut steered = zone.steered[0].clone();
    steered.name = crate::world::domain("*.gslb.example");
    zone.steered.push(steered);
    let mut inputs = crate::world::inputs(zone, Some(down));
    inputs.node = "n".repeat(63).into();
    let snapshot = Snapshot::compile(inputs, None);
    let name = [63, 63, 63, 48].map(|length| "x".repeat(length)).join(".");
    let options = [option(NSID, &[]), option(SUBNET, &subnet("2a00::/128")), option(COOKIE, &[1; 8])].concat();
    let query = Query::new(&name, RecordType::AAAA).opt(512, 0, 0, &options);
    let bytes = reply(&snapshot, &query, Transport::Udp);
    assert_eq!(query.name.len(), 255);
    assert!(bytes.len() <= 512 && bytes[2] & 2 != 0, "{} bytes, truncated", bytes.len());
    assert_eq!(raw_option(&bytes, EXTENDED_ERROR), Some(vec![0, 0]), "the code alone");
}
