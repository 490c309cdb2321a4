//! etcd with TLS and client certificates.

#![expect(clippy::unwrap_used, reason = "test set-up outside of test functions")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use meridian_store::{Error, Store, Txn};
use meridian_store_etcd::testing::{EtcdProcess, ServerTls};
use meridian_store_etcd::{EtcdOptions, EtcdStore};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

struct Authority {
    pem: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(dir: &Path, name: &str) -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = dir.join(format!("{name}.pem"));
    std::fs::write(&pem, params.self_signed(&key).unwrap().pem()).unwrap();
    Authority { pem, issuer: Issuer::new(params, key) }
}

fn issue(authority: &Authority, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let files = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    std::fs::write(&files.0, certificate.pem()).unwrap();
    std::fs::write(&files.1, key.serialize_pem()).unwrap();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_our_certificate_from_the_right_authority_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(dir.path(), "ours"), authority(dir.path(), "other"));
    let (cert, key) = issue(&ours, dir.path(), "server");
    let etcd = EtcdProcess::spawn_tls(&ServerTls { ca: ours.pem.clone(), cert, key });

    let connect = async |ca: &Authority, identity: Option<&(PathBuf, PathBuf)>| {
        let options = EtcdOptions {
            ca_file: Some(ca.pem.clone()),
            cert_file: identity.map(|files| files.0.clone()),
            key_file: identity.map(|files| files.1.clone()),
            ..EtcdOptions::new([etcd.endpoint()])
        };
        EtcdStore::connect(options).await.unwrap()
    };
    let client = issue(&ours, dir.path(), "client");
    let stranger = issue(&other, dir.path(), "stranger");
    let store = connect(&ours, Some(&client)).await;
    let up = async { while store.txn(Txn::new().put("/tls", "x")).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), up).await.unwrap_or_else(|_| panic!("{}", etcd.log()));
    let at = store.list("/tls").await.unwrap().entries[0].mod_revision;
    let mut watch = store.watch("/tls", at).await.unwrap();
    assert_eq!(watch.recv().await.unwrap().revision, at);

    for (authority, identity) in [(&ours, None), (&ours, Some(&stranger)), (&other, Some(&client))] {
        let refused = connect(authority, identity).await.get("/tls").await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    }
}
