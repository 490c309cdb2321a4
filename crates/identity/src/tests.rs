//! Both ends of TLS verify each other, say who the other is, and follow their files.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::{Authority, AuthorityDirectory, ClientTls, Error, Identity, PeerTls, Pem, PemFiles, Role, ServerTls};
use meridian_host::{Connection, DiskFiles, Files, SystemClock, WallClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONTROL: &str = "spiffe://meridian/control/-/cp-1";
const NODE: &str = "spiffe://meridian/node/eu-west/n1";

fn now() -> i64 {
    SystemClock.now_unix_ms()
}

fn pem(authority: &Authority, identity: &str) -> Pem {
    let hosts = ["control.test".to_owned(), "127.0.0.1".to_owned()];
    authority.issue_pem(&identity.parse().unwrap(), &hosts, now()).unwrap()
}

fn connections() -> (Connection, Connection) {
    let (a, b) = tokio::io::duplex(64 << 10);
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let connection = |io| Connection { io: Box::new(io), peer: address, local: address };
    (connection(a), connection(b))
}

/// Performs a handshake and sends a byte each way: under TLS 1.3 a client learns only then that it was refused.
async fn meet(
    server: &ServerTls,
    client: &ClientTls,
    name: &str,
) -> (Result<Option<Identity>, String>, Result<(), String>) {
    let (near, far) = connections();
    let serve = async {
        let (mut connection, identity) = server.accept(near).await.map_err(|error| error.to_string())?;
        let byte = connection.io.read_u8().await.map_err(|error| error.to_string())?;
        connection.io.write_u8(byte).await.map_err(|error| error.to_string())?;
        connection.io.flush().await.map_err(|error| error.to_string())?;
        Ok(identity)
    };
    let call = async {
        let mut connection = client.connect(far, name).await.map_err(|error| error.to_string())?;
        connection.io.write_u8(7).await.map_err(|error| error.to_string())?;
        connection.io.flush().await.map_err(|error| error.to_string())?;
        connection.io.read_u8().await.map_err(|error| error.to_string())?;
        Ok(())
    };
    tokio::join!(serve, call)
}

#[tokio::test]
async fn a_node_and_a_replica_know_each_other() {
    let authority = Authority::generate("test", now()).unwrap();
    let server = ServerTls::from_pem(&pem(&authority, CONTROL)).unwrap();
    let client = ClientTls::from_pem(&pem(&authority, NODE), Role::Control).unwrap();
    for name in ["control.test", "127.0.0.1"] {
        let (served, called) = meet(&server, &client, name).await;
        assert_eq!(served.unwrap().unwrap(), NODE.parse().unwrap());
        called.unwrap();
    }
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused_by_both_ends() {
    let (ours, theirs) = (Authority::generate("ours", now()).unwrap(), Authority::generate("theirs", now()).unwrap());
    // Each stranger trusts us, so that only our side can be the one that refuses.
    let stranger = |identity: &str| Pem { ca: pem(&ours, identity).ca, ..pem(&theirs, identity) };

    let server = ServerTls::from_pem(&pem(&ours, CONTROL)).unwrap();
    let client = ClientTls::from_pem(&stranger(NODE), Role::Control).unwrap();
    let (served, called) = meet(&server, &client, "control.test").await;
    assert!(served.unwrap_err().contains("certificate"));
    assert!(called.is_err());

    let server = ServerTls::from_pem(&stranger(CONTROL)).unwrap();
    let client = ClientTls::from_pem(&pem(&ours, NODE), Role::Control).unwrap();
    let (_, called) = meet(&server, &client, "control.test").await;
    assert!(called.unwrap_err().contains("UnknownIssuer"));
}

#[tokio::test]
async fn a_server_of_another_role_or_name_is_refused() {
    let authority = Authority::generate("test", now()).unwrap();
    let client = ClientTls::from_pem(&pem(&authority, NODE), Role::Control).unwrap();
    let check = async |identity: &str, name: &str, expected: &str| {
        let server = ServerTls::from_pem(&pem(&authority, identity)).unwrap();
        let error = meet(&server, &client, name).await.1.unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    check("spiffe://meridian/node/eu-west/n2", "control.test", "a control was expected").await;
    check("spiffe://meridian/operator/-/eve", "control.test", "certificate").await;
    check(CONTROL, "other.test", "not valid for name").await;
}

#[tokio::test]
async fn a_client_without_certificate_is_refused_where_one_is_needed_and_served_in_public() {
    let authority = Authority::generate("test", now()).unwrap();
    let pem = pem(&authority, NODE);
    let check = async |server: ServerTls, expected: bool| {
        let (near, far) = connections();
        let mut roots = rustls::RootCertStore::empty();
        let ca = authority.certificate_pem().as_bytes();
        roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let (served, _) =
            tokio::join!(server.accept(near), connector.connect("control.test".try_into().unwrap(), far.io));
        match served {
            Ok((_, identity)) => assert!(expected && identity.is_none()),
            Err(error) => assert!(!expected, "{error}"),
        }
    };
    check(ServerTls::from_pem(&pem).unwrap(), false).await;
    check(ServerTls::from_pem(&Pem { ca: None, ..pem.clone() }).unwrap(), true).await;
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_used_and_broken_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let paths = PemFiles {
        ca: Some(dir.path().join("ca")),
        certificate: dir.path().join("certificate"),
        key: dir.path().join("key"),
    };
    let write = async |pem: &Pem| {
        DiskFiles.replace(paths.ca.as_ref().unwrap(), pem.ca.as_ref().unwrap()).await.unwrap();
        DiskFiles.replace(&paths.certificate, &pem.certificate).await.unwrap();
        DiskFiles.replace(&paths.key, &pem.key).await.unwrap();
    };
    let (old, new) = (Authority::generate("old", now()).unwrap(), Authority::generate("new", now()).unwrap());
    write(&pem(&old, CONTROL)).await;
    let server = ServerTls::from_files(Arc::new(DiskFiles), paths.clone()).await.unwrap();
    let old_client = ClientTls::from_pem(&pem(&old, NODE), Role::Control).unwrap();
    let new_client = ClientTls::from_pem(&pem(&new, NODE), Role::Control).unwrap();

    // A key that does not belong to the certificate: what a look halfway through a renewal finds.
    DiskFiles.replace(&paths.key, &pem(&old, CONTROL).key).await.unwrap();
    tokio::time::advance(Duration::from_secs(6)).await;
    meet(&server, &old_client, "control.test").await.1.unwrap();

    write(&pem(&new, CONTROL)).await;
    assert!(meet(&server, &new_client, "control.test").await.1.is_err(), "looked before the interval was over");
    tokio::time::advance(Duration::from_secs(6)).await;
    meet(&server, &new_client, "control.test").await.1.unwrap();
    assert!(meet(&server, &old_client, "control.test").await.1.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_left_in_time() {
    let authority = Authority::generate("test", now()).unwrap();
    let server = ServerTls::from_pem(&pem(&authority, CONTROL)).unwrap();
    let (near, _far) = connections();
    assert_eq!(server.accept(near).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn a_directory_issues_and_never_overwrites() {
    use std::os::unix::fs::PermissionsExt;
    let temporary = tempfile::tempdir().unwrap();
    let directory = AuthorityDirectory::new(temporary.path().join("pki"));
    let identity: Identity = NODE.parse().unwrap();
    assert!(matches!(directory.issue(&identity, &[], now(), 30), Err(Error::File { action: "read", .. })));
    directory.init("test", now()).unwrap();
    assert!(matches!(directory.init("test", now()), Err(Error::Exists(_))));
    let files = directory.issue(&identity, &["n1.test".to_owned()], now(), 30).unwrap();
    assert!(files.certificate.ends_with("node-eu-west-n1.pem"));
    assert!(matches!(directory.issue(&identity, &[], now(), 30), Err(Error::Exists(_))));
    for key in [directory.key(), files.key.clone()] {
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let read = |path| std::fs::read(path).unwrap();
    let pem =
        Pem { ca: Some(read(directory.certificate())), certificate: read(files.certificate), key: read(files.key) };
    assert!(ClientTls::from_pem(&pem, Role::Control).is_ok());
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let authority = Authority::generate("test", now()).unwrap();
    let issued = authority.issue(&NODE.parse().unwrap(), &[], now(), 1).unwrap();
    let shown = format!("{authority:?} {issued:?} {:?}", pem(&authority, NODE));
    assert!(!shown.contains("PRIVATE KEY"));
}

/// As [`meet`], between nodes.
async fn meet_peer(server: &ServerTls, client: &PeerTls, expected: &str) -> Result<(), String> {
    let (near, far) = connections();
    let serve = async {
        let mut connection = server.accept(near).await?.0;
        let byte = connection.io.read_u8().await?;
        connection.io.write_u8(byte).await?;
        connection.io.flush().await
    };
    let call = async {
        let mut connection = client.connect(far, &expected.parse().unwrap()).await?;
        connection.io.write_u8(7).await?;
        connection.io.flush().await?;
        connection.io.read_u8().await.map(drop)
    };
    let (_, called) = tokio::join!(serve, call);
    called.map_err(|error: std::io::Error| error.to_string())
}

#[tokio::test]
async fn a_node_is_known_by_its_identity_and_by_nothing_else() {
    const OTHER: &str = "spiffe://meridian/node/us-west/n2";
    let authority = Authority::generate("test", now()).unwrap();
    // As `meridian pki issue` makes them without `--host`.
    let bare = |identity: &str| authority.issue_pem(&identity.parse().unwrap(), &[], now()).unwrap();
    let client = PeerTls::from_pem(&bare(NODE)).unwrap();
    let server = ServerTls::from_pem(&bare(OTHER)).unwrap();
    meet_peer(&server, &client, OTHER).await.unwrap();
    let error = meet_peer(&server, &client, "spiffe://meridian/node/us-west/n3").await.unwrap_err();
    assert!(error.contains("n3 was expected"), "{error}");

    let theirs = Authority::generate("theirs", now()).unwrap();
    let stranger = theirs.issue_pem(&OTHER.parse().unwrap(), &[], now()).unwrap();
    let server = ServerTls::from_pem(&Pem { ca: bare(OTHER).ca, ..stranger }).unwrap();
    let error = meet_peer(&server, &client, OTHER).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
}
