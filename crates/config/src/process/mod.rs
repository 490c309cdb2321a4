//! What one process is told at start, as YAML: unknown keys are refused, every mistake is reported at once.
//!
//! Relative paths are relative to the file that names them, so that a process may be started from anywhere.

mod dns;
mod node;
mod parts;
mod section;

pub use dns::DnsFile;
pub use node::NodeFile;
pub use parts::{ControlPlane, DnsListen, Mutual, PeerListen, PublicTls};

use std::path::{Path, PathBuf};

use crate::mistake::{Located, Place};
use crate::source::{self, ReadError};
use crate::yaml;
use section::Section;

/// Why a process cannot start with a file.
#[derive(Debug, thiserror::Error)]
pub enum ProcessFileError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something in it is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mistakes(Vec<Located>),
}

/// Reads one file that holds one document.
fn read<T>(path: &Path, parse: impl FnOnce(&mut Section<'_>) -> Option<T>) -> Result<T, ProcessFileError> {
    let sources = if path.is_dir() { Vec::new() } else { source::read(path)? };
    let [source] = sources.as_slice() else { return Err(ReadError::Empty(path.to_owned()).into()) };
    let base = path.parent().map(PathBuf::from).unwrap_or_default();
    from_text(&source.file, &source.text, &base, parse).map_err(ProcessFileError::Mistakes)
}

fn from_text<T>(
    file: &std::sync::Arc<str>,
    text: &str,
    base: &Path,
    parse: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Result<T, Vec<Located>> {
    let whole = |at, text: String| {
        let code = meridian_types::ErrorCode::InvalidRequest;
        vec![Located { place: Place::new(file, at), resource: String::new(), path: String::new(), code, text }]
    };
    let documents: Result<Vec<_>, _> = yaml::parse(text).into_iter().collect();
    let documents = documents.map_err(|unreadable| whole(unreadable.at, unreadable.text))?;
    let [node] = documents.as_slice() else {
        return Err(whole(yaml::Position::default(), format!("one document is needed, there are {}", documents.len())));
    };
    let mut section = Section::root(file, base, node);
    let parsed = parse(&mut section);
    let mistakes = section.finish();
    match parsed {
        Some(parsed) if mistakes.is_empty() => Ok(parsed),
        _ => Err(mistakes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name: us-west-1\nregion: us-west\nlisten: 127.0.1.1:8080\nstate_dir: state\n\
                        control: {endpoints: [127.0.0.1:7000]}\n";

    fn mistakes<T: std::fmt::Debug>(text: &str, parse: impl FnOnce(&mut Section<'_>) -> Option<T>) -> Vec<String> {
        let found = from_text(&"n.yaml".into(), text, Path::new("/etc/meridian"), parse).unwrap_err();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_short_file_is_enough() {
        let file = from_text(&"n.yaml".into(), GOOD, Path::new("/etc/meridian"), node::parse).unwrap();
        assert_eq!(file.public_addresses, ["127.0.1.1:8080"]);
        assert_eq!(file.state_dir, Path::new("/etc/meridian/state"));
        assert_eq!((file.cell.as_str(), file.max_in_flight, file.drain_grace.as_secs()), ("main", 1000, 30));
        assert_eq!(file.max_held_mib, 512);
        assert_eq!((file.control.tls, file.peers), (None, None));
    }

    #[test]
    fn nodes_meet_with_the_certificates_of_the_control_section_or_with_their_own() {
        let mutual = |name: &str| Mutual {
            ca: format!("/etc/{name}-ca").into(),
            certificate: format!("/etc/{name}-c").into(),
            key: format!("/etc/{name}-k").into(),
        };
        let written = |name: &str| format!("tls: {{ca: {name}-ca, certificate: {name}-c, key: {name}-k}}");
        let text = GOOD.replace("7000]}", &format!("7000], {}}}", written("a")));
        let check = |peers: &str, expected: PeerListen| {
            let text = format!("{text}peers: {{{peers}}}\n");
            let file = from_text(&"n.yaml".into(), &text, Path::new("/etc"), node::parse).unwrap();
            assert_eq!(file.peers, Some(expected), "{peers}");
        };
        let listen = "192.0.2.1:7200".parse().unwrap();
        let expected = PeerListen { listen, advertise: "192.0.2.1:7200".to_owned(), tls: Some(mutual("a")) };
        check("listen: 192.0.2.1:7200", expected);
        let listen = "0.0.0.0:7200".parse().unwrap();
        let expected = PeerListen { listen, advertise: "n1.test:7200".to_owned(), tls: Some(mutual("b")) };
        check(&format!("listen: 0.0.0.0:7200, advertise: \"n1.test:7200\", {}", written("b")), expected);
    }

    #[test]
    fn without_certificates_nodes_meet_on_loopback_alone() {
        let file = format!("{GOOD}peers: {{listen: 127.0.1.1:7200}}\n");
        let file = from_text(&"n.yaml".into(), &file, Path::new("/etc"), node::parse).unwrap();
        assert_eq!(file.peers.map(|peers| (peers.advertise, peers.tls)), Some(("127.0.1.1:7200".to_owned(), None)));
        for (peers, told) in [
            ("listen: 192.0.2.1:7200", "n.yaml:6:9: peers.listen: plaintext is allowed on loopback only"),
            (
                "listen: 127.0.0.1:7200, advertise: \"n1:1\"",
                "n.yaml:6:9: peers.listen: plaintext is allowed on loopback",
            ),
            ("listen: 127.0.0.1:0", "n.yaml:6:9: peers.listen: say what to advertise"),
            ("advertise: \"n1:1\"", "n.yaml:6:8: peers.listen: this key is required"),
        ] {
            let found = mistakes(&format!("{GOOD}peers: {{{peers}}}\n"), node::parse);
            assert!(found.len() == 1 && found[0].starts_with(told), "{found:?}");
        }
    }

    #[test]
    fn a_full_file_is_read_whole() {
        let text = format!(
            "{GOOD}cell: canary\npublic_addresses: [\"gw.test:443\"]\ntls: {{certificate: c.pem, key: /k.pem}}\n\
             dns: {{listen: [\"[::]:53\"], geo_database: geo.mmdb, cookie_secrets: dns.cookies, query_log_one_in: 1000}}\nmax_in_flight: 5\n\
             max_held_mib: 128\negress_address: 127.0.1.1\ndrain_grace: 5s\nwitness: https://example.com/\n"
        );
        let file = from_text(&"n.yaml".into(), &text, Path::new("/etc"), node::parse).unwrap();
        assert_eq!(file.tls, Some(PublicTls { certificate: "/etc/c.pem".into(), key: "/k.pem".into() }));
        let dns = file.dns.unwrap();
        assert_eq!(dns.listen.to_string(), "[::]:53");
        assert_eq!(dns.cookie_secrets, Some("/etc/dns.cookies".into()));
        assert_eq!(dns.query_log_one_in.map(std::num::NonZero::get), Some(1000));
        assert_eq!((file.max_in_flight, file.max_held_mib, file.drain_grace.as_secs()), (5, 128, 5));
        assert_eq!(file.egress_address, Some("127.0.1.1".parse().unwrap()));
        assert_eq!(file.witness, Some("https://example.com/".parse().unwrap()));
        let found = mistakes(&format!("{GOOD}max_held_mib: 64\n"), node::parse);
        assert_eq!(found, ["n.yaml:6:15: max_held_mib: \"64\" is not allowed; write 128 to 1048576"]);
        for wrong in ["example.com", "ftp://example.com", "https://"] {
            let found = mistakes(&format!("{GOOD}witness: \"{wrong}\"\n"), node::parse);
            assert!(found.len() == 1 && found[0].contains("witness"), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = "name: US\nregin: a\nlisten: 0.0.0.0:8080\nmax_in_flight: 0\ndrain_grace: 5m\n\
                    control:\n  endpoints: [cp.test:7000, nonsense]\n  tls: {ca: a}\n";
        assert_eq!(
            mistakes(text, node::parse),
            [
                "n.yaml:1:1: region: this key is required: the name of a region",
                "n.yaml:1:1: state_dir: this key is required: a path",
                "n.yaml:1:7: name: \"US\" is not allowed; write a node name: a-z, 0-9 and '-'",
                "n.yaml:2:1: regin: unknown key; did you mean region? allowed: cell, control, dns, drain_grace, \
                 drain_linger, egress_address, extra_ca, listen, max_held_mib, max_in_flight, name, peers, public_addresses, region, state_dir, tls, witness",
                "n.yaml:3:1: listen: list the public_addresses: clients cannot connect to a wildcard address or port 0",
                "n.yaml:4:16: max_in_flight: \"0\" is not allowed; write 1 to 1000000",
                "n.yaml:5:14: drain_grace: \"5m\" is not allowed; write whole seconds such as 30s, at most 3600s",
                "n.yaml:7:3: control.endpoints: plaintext is allowed on loopback only: give `tls: {ca, certificate, \
                 key}`, or `insecure: true` if something else protects the connection",
                "n.yaml:7:29: control.endpoints[1]: \"nonsense\" is not allowed; write host:port of a control replica",
                "n.yaml:8:8: control.tls.certificate: this key is required: a path",
                "n.yaml:8:8: control.tls.key: this key is required: a path",
            ]
        );
    }

    #[test]
    fn a_dns_process_needs_a_place_to_listen() {
        let found = mistakes("name: n\nregion: r\nstate_dir: s\ncontrol: 7\n", dns::parse);
        assert_eq!(
            found,
            [
                "n.yaml:1:1: dns: this key is required: {listen: [address:port, ...], geo_database: PATH}",
                "n.yaml:4:10: control: a mapping is needed; this is a number",
            ]
        );
    }

    #[test]
    fn a_dns_process_may_show_its_metrics() {
        let text =
            "name: n\nregion: r\nstate_dir: s\ncontrol: {endpoints: [127.0.0.1:7000]}\ndns: {listen: [\"[::]:53\"]}\n";
        let read = |text: &str| from_text(&"n.yaml".into(), text, Path::new("/etc"), dns::parse).unwrap();
        assert_eq!(read(text).metrics_listen, None);
        let shown = read(&format!("{text}metrics_listen: 127.0.0.1:9153\n"));
        assert_eq!(shown.metrics_listen, Some("127.0.0.1:9153".parse().unwrap()));
    }

    #[test]
    fn a_dns_process_is_told_how_to_look_at_nodes_and_whom_to_ask_of_two_regions() {
        let text =
            "name: n\nregion: r\nstate_dir: s\ncontrol: {endpoints: [127.0.0.1:7000]}\ndns: {listen: [\"[::]:53\"]}\n";
        let read = |text: &str| from_text(&"n.yaml".into(), text, Path::new("/etc"), dns::parse).unwrap();
        let short = read(text);
        assert_eq!((short.probe_scheme.as_str(), short.extra_ca, short.witness), ("http", None, None));
        let full = read(&format!("{text}probe_scheme: https\nextra_ca: ca.pem\nwitness: https://example.com/\n"));
        assert_eq!((full.probe_scheme.as_str(), full.extra_ca), ("https", Some("/etc/ca.pem".into())));
        assert_eq!(full.witness, Some("https://example.com/".parse().unwrap()));
        for wrong in ["probe_scheme: ftp", "witness: example.com"] {
            let found = mistakes(&format!("{text}{wrong}\n"), dns::parse);
            assert!(found.len() == 1 && found[0].contains(wrong.split(':').next().unwrap()), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn the_files_of_the_local_deployment_are_right() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local");
        let mut names = Vec::new();
        for source in source::read(&directory).unwrap() {
            names.push(NodeFile::read(Path::new(&*source.file)).unwrap().name.to_string());
        }
        assert_eq!(names, ["ap-southeast-1", "eu-west-1", "us-west-1"]);
    }
}
