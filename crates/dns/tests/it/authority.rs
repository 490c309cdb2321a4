//! RFC 1034, 1035, 2181, 2308, 4592, 6604, 6891, 8482, 9471, 9619: a case a rule.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use meridian_dns::{Transport, answer};

use crate::world::{NOWHERE, Query, answered, plan, snapshot};

const AA: u16 = 1 << 10;
const TC: u16 = 1 << 9;
const RD: u16 = 1 << 8;
const RA: u16 = 1 << 7;
const Z_AD_CD: u16 = 0x70;

fn raw(query: &Query, transport: Transport) -> Vec<u8> {
    answer(&snapshot(Some(plan())), &query.bytes(), NOWHERE, transport).expect("an answer")
}

fn flags(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[2], bytes[3]])
}

fn ask(name: &str, qtype: RecordType) -> Message {
    Query::new(name, qtype).ask(&snapshot(Some(plan())))
}

#[test]
fn every_kind_of_name_gets_its_code_and_its_sections() {
    use RecordType::{A, AAAA, ANY, CNAME, DS, HTTPS, MX, NS, SOA, TXT};
    use ResponseCode::{NXDomain, NoError, Refused};
    // name, type, code, authoritative, answers, types of the authority section
    let check = |name: &str, qtype, code, authoritative, answers: usize, authority: &[RecordType]| {
        let message = ask(name, qtype);
        let found: Vec<RecordType> = message.authorities.iter().map(|record| record.record_type()).collect();
        assert_eq!(message.metadata.response_code, code, "{name} {qtype}");
        assert_eq!(message.metadata.authoritative, authoritative, "{name} {qtype}");
        assert_eq!(message.answers.len(), answers, "{name} {qtype}");
        assert_eq!(found, authority, "{name} {qtype}");
    };
    check("www", A, NoError, true, 2, &[]);
    check("www", TXT, NoError, true, 2, &[]);
    check("www", AAAA, NoError, true, 0, &[SOA]);
    check("www", MX, NoError, true, 0, &[SOA]);
    check("api", HTTPS, NoError, true, 0, &[SOA]);
    check("@", SOA, NoError, true, 1, &[]);
    check("@", NS, NoError, true, 2, &[]);
    check("@", A, NoError, true, 0, &[SOA]);
    check("none", A, NXDomain, true, 0, &[SOA]);
    check("none.www", A, NXDomain, true, 0, &[SOA]);
    // Empty non-terminals exist; resolvers that minimise names depend on it.
    check("ent", A, NoError, true, 0, &[SOA]);
    check("down.ent", NS, NoError, true, 0, &[SOA]);
    check("ent", ANY, NoError, true, 0, &[SOA]);
    check("other.ent", A, NXDomain, true, 0, &[SOA]);
    check("deep.down.ent", A, NoError, true, 1, &[]);
    // Wildcards cover what does not exist, at any depth, and nothing else.
    check("x.wild", A, NoError, true, 1, &[]);
    check("x.y.wild", A, NoError, true, 1, &[]);
    check("x.wild", TXT, NoError, true, 0, &[SOA]);
    check("*.wild", A, NoError, true, 1, &[]);
    check("known.wild", A, NoError, true, 0, &[SOA]);
    check("x.known.wild", A, NXDomain, true, 0, &[SOA]);
    check("wild", A, NoError, true, 0, &[SOA]);
    // Aliases are followed within the zone, and the code is that of the end.
    check("alias", A, NoError, true, 3, &[]);
    check("alias", CNAME, NoError, true, 1, &[]);
    check("alias", TXT, NoError, true, 1, &[SOA]);
    check("alias2", A, NoError, true, 4, &[]);
    check("dangling", A, NXDomain, true, 1, &[SOA]);
    check("out", A, NoError, true, 1, &[]);
    check("loop1", A, NoError, true, 9, &[]);
    // Delegations.
    check("child", NS, NoError, false, 0, &[NS, NS]);
    check("child", A, NoError, false, 0, &[NS, NS]);
    check("x.y.child", A, NoError, false, 0, &[NS, NS]);
    check("ns.child", A, NoError, false, 0, &[NS, NS]);
    check("child", DS, NoError, true, 0, &[SOA]);
    // Not ours.
    check("www.elsewhere.example.", A, Refused, false, 0, &[]);
    check("notgslb.example.", A, Refused, false, 0, &[]);
    check("example.", SOA, Refused, false, 0, &[]);
    check("@", RecordType::AXFR, Refused, false, 0, &[]);
    check("@", RecordType::IXFR, Refused, false, 0, &[]);
}

#[test]
fn flags_are_those_of_an_authority() {
    let check = |query_flags: u16, expected: u16| {
        let bytes = raw(&Query::new("www", RecordType::A).flags(query_flags), Transport::Udp);
        assert_eq!(flags(&bytes) & !0xF, 0x8000 | expected, "{query_flags:#x}");
    };
    check(0, AA);
    check(RD, AA | RD);
    // What a client sets and only a server may mean is not repeated.
    check(RD | RA | AA | TC | Z_AD_CD, AA | RD);
}

#[test]
fn the_question_comes_back_as_it_was_asked() {
    let query = Query::new("wWw", RecordType::A);
    let bytes = raw(&query, Transport::Udp);
    assert_eq!(&bytes[12..12 + query.name.len()], query.name);
    let message = Message::from_vec(&bytes).unwrap();
    assert_eq!(message.queries[0].name().to_utf8(), "wWw.gslb.example.");
    assert!(message.answers.iter().all(|record| record.name.to_utf8() == "wWw.gslb.example."));
    assert_eq!(answered(&message), ["192.0.2.80", "192.0.2.81"]);
}

#[test]
fn wildcards_answer_under_the_name_asked_for() {
    assert_eq!(ask("x.wild", RecordType::A).answers[0].name.to_utf8(), "x.wild.gslb.example.");
}

#[test]
fn an_alias_comes_before_what_it_leads_to() {
    let message = ask("alias2", RecordType::A);
    let chain: Vec<String> = message.answers.iter().map(|record| record.name.to_utf8()).collect();
    let expected = ["alias2", "alias3", "www", "www"].map(|name| format!("{name}.gslb.example."));
    assert_eq!(chain, expected);
}

#[test]
fn negative_answers_live_as_long_as_the_zone_says() {
    for (name, qtype) in [("none", RecordType::A), ("www", RecordType::MX), ("ent", RecordType::A)] {
        let message = ask(name, qtype);
        let soa = &message.authorities[0];
        assert_eq!((soa.ttl, soa.name.to_utf8()), (20, "gslb.example.".to_owned()), "{name}");
    }
    // Asked for itself, the record has its own TTL and the plan's number as serial.
    let message = ask("@", RecordType::SOA);
    assert_eq!(message.answers[0].ttl, 3600);
    let RData::SOA(soa) = &message.answers[0].data else { panic!("{message}") };
    assert_eq!((soa.serial, soa.minimum), (7, 20));
    assert_eq!(
        (soa.mname.to_utf8(), soa.rname.to_utf8()),
        ("ns1.gslb.example.".to_owned(), "hostmaster.gslb.example.".to_owned())
    );
}

#[test]
fn without_a_plan_the_serial_is_the_commit() {
    let message = Query::new("@", RecordType::SOA).ask(&snapshot(None));
    let RData::SOA(soa) = &message.answers[0].data else { panic!("{message}") };
    assert_eq!(soa.serial, 3);
}

#[test]
fn a_referral_carries_the_addresses_that_lie_below_the_cut() {
    let message = ask("x.child", RecordType::A);
    assert!(message.authorities.iter().all(|record| record.name.to_utf8() == "child.gslb.example."));
    assert_eq!(message.additionals.len(), 1);
    assert_eq!(message.additionals[0].name.to_utf8(), "ns.child.gslb.example.");
    assert_eq!(message.additionals[0].data.to_string(), "192.0.2.54");
}

#[test]
fn packets_that_deserve_no_answer_get_none() {
    let snapshot = snapshot(Some(plan()));
    let good = Query::new("www", RecordType::A);
    let silent = |packet: &[u8]| answer(&snapshot, packet, NOWHERE, Transport::Udp).is_none();
    for length in 0..12 {
        assert!(silent(&good.bytes()[..length]), "{length} bytes");
    }
    assert!(silent(&good.clone().flags(0x8000).bytes()), "a response");
    assert!(!silent(&good.bytes()));
}

#[test]
fn what_is_no_query_gets_the_code_for_it() {
    use ResponseCode::{BADVERS, FormErr, NotImp, Refused};
    let good = || Query::new("www", RecordType::A);
    let check = |what: &str, query: Query, expected| {
        let message = query.ask(&snapshot(Some(plan())));
        // BADVERS and BADSIG share the number 16, and hickory reads the latter.
        assert_eq!(u16::from(message.metadata.response_code), u16::from(expected), "{what}");
        assert!(!message.metadata.authoritative, "{what}");
        assert!(message.answers.is_empty() && message.authorities.is_empty(), "{what}");
    };
    check("no question", Query { questions: 0, ..good() }, FormErr);
    check("two questions", Query { questions: 2, ..good() }, FormErr);
    for opcode in [1, 2, 3, 5, 6, 15] {
        check("an opcode that is not implemented", good().flags(opcode << 11), NotImp);
        check("and with no body", Query { questions: 0, ..good().flags(opcode << 11) }, NotImp);
        let message = good().edns().flags(opcode << 11).ask(&snapshot(Some(plan())));
        assert!(message.edns.is_some(), "or else clients think that it is EDNS that is not implemented");
    }
    check("NOTIFY", good().flags(4 << 11), Refused);
    check("class CH", Query { class: 3, ..Query::new("version.bind.", RecordType::TXT) }, Refused);
    check("class ANY", Query { class: 255, ..good() }, Refused);
    check("a compressed question", Query { name: vec![0xC0, 12], ..good() }, FormErr);
    check("a label type nobody has", Query { name: vec![0x41, 1, 0], ..good() }, FormErr);
    let too_long = [&[63; 64][..], &[63; 64], &[63; 64], &[63; 64], &[0]].concat();
    check("a name of 257 bytes", Query { name: too_long, ..good() }, FormErr);
    check("two OPT records", good().edns().edns(), FormErr);
    check("a later EDNS version", good().opt(4096, 1, 0, &[]), BADVERS);
    check("options that end too early", good().opt(4096, 0, 0, &[0, 8, 0, 9, 0]), FormErr);
}

#[test]
fn a_packet_that_ends_within_its_records_is_malformed_and_bytes_behind_them_are_not_minded() {
    let snapshot = snapshot(Some(plan()));
    let query = Query::new("www", RecordType::A).edns();
    let bytes = query.bytes();
    for length in 12..bytes.len() {
        let message = answer(&snapshot, &bytes[..length], NOWHERE, Transport::Udp).expect("an answer");
        assert_eq!(message[3] & 0xF, 1, "{length} bytes");
    }
    let message = Query { trailing: vec![1, 2, 3], ..query }.ask(&snapshot);
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
}

#[test]
fn any_gets_one_small_answer() {
    for name in ["www", "many", "api", "@"] {
        let message = ask(name, RecordType::ANY);
        let types: Vec<RecordType> = message.answers.iter().map(|record| record.record_type()).collect();
        assert_eq!(types, [RecordType::HINFO], "{name}");
    }
    assert_eq!(ask("alias", RecordType::ANY).answers[0].record_type(), RecordType::CNAME);
}

#[test]
fn what_does_not_fit_is_left_out_whole() {
    let check = |query: &Query, transport, is_whole: bool| {
        let bytes = raw(query, transport);
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.metadata.truncation, !is_whole);
        assert_eq!(message.answers.len(), if is_whole { 40 } else { 0 });
        assert_eq!(message.edns.is_some(), !query.opts.is_empty(), "the OPT record stays");
    };
    let query = Query::new("many", RecordType::TXT);
    check(&query, Transport::Udp, false);
    check(&query.clone().edns(), Transport::Udp, false);
    check(&query.clone().opt(65535, 0, 0, &[]), Transport::Udp, false);
    check(&query, Transport::Tcp, true);
    check(&query.clone().edns(), Transport::Tcp, true);
    // 600 bytes of text: too much without EDNS and for a client that takes 512, not for one that takes more.
    let long = |query: Query| Message::from_vec(&raw(&query, Transport::Udp)).unwrap().metadata.truncation;
    assert!(long(Query::new("long", RecordType::TXT)));
    assert!(long(Query::new("long", RecordType::TXT).opt(100, 0, 0, &[])));
    assert!(!long(Query::new("long", RecordType::TXT).edns()));
}

#[test]
fn texts_are_cut_into_strings_of_255_bytes() {
    let message = Query::new("long", RecordType::TXT).edns().ask(&snapshot(Some(plan())));
    let RData::TXT(txt) = &message.answers[0].data else { panic!("{message}") };
    let lengths: Vec<usize> = txt.txt_data.iter().map(|text| text.len()).collect();
    assert_eq!(lengths, [255, 255, 90]);
}

#[test]
fn every_type_of_record_is_read_back_by_an_independent_reader() {
    let check = |qtype: RecordType, expected: &[&str]| {
        let message = ask("typed", qtype);
        let found: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(found, expected, "{qtype}");
    };
    check(RecordType::MX, &["10 mail.gslb.example.", "0 ."]);
    check(RecordType::SRV, &["1 2 443 api.gslb.example."]);
    check(RecordType::CAA, &["128 issue \"ca.example; x=y\""]);
    check(RecordType::PTR, &["api.gslb.example."]);
    check(RecordType::SVCB, &["0 api.gslb.example."]);
    // The reader ends lists with a comma.
    let https = "1 . mandatory=alpn,port, alpn=h2,h3, no-default-alpn= port=8443 ipv4hint=192.0.2.1,192.0.2.2, \
                 ipv6hint=2001:db8::1,";
    check(RecordType::HTTPS, &[https]);
}

#[test]
fn before_the_first_configuration_the_server_says_that_it_is_not_ready() {
    let snapshot = meridian_dns::Snapshot::compile(meridian_dns::Inputs::default(), None);
    let message = Query::new("api", RecordType::A).edns().ask(&snapshot);
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
}
