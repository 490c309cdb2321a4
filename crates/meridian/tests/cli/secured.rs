//! Certificates made by `pki` open the admin API, and name who wrote.

use meridian_identity::{Pem, ServerTls};

use crate::plane::{Plane, run};

#[test]
fn an_operator_with_a_certificate_is_known_by_name_and_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("pki");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let pki = |arguments: &[&str]| run(&[&["pki"], arguments, &["--dir", dir.to_str().unwrap()]].concat(), "");
    assert_eq!(pki(&["init", "--cluster", "test"]).code, 0);
    let again = pki(&["init"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("never overwritten"), "{}", again.err);
    assert_eq!(pki(&["issue", "--role", "node", "--name", "n1"]).code, 2, "a node without region");
    assert_eq!(pki(&["issue", "--role", "control", "--name", "cp-1"]).code, 2, "a replica without host");
    for (role, flag) in [("operator", "--region"), ("control", "--region"), ("operator", "--host")] {
        let ignored = pki(&["issue", "--role", role, "--name", "x", flag, "eu"]);
        assert_eq!((ignored.code, ignored.out.as_str()), (2, ""), "{role} {flag}");
        assert!(ignored.err.contains(flag), "{}", ignored.err);
    }
    let control = pki(&["issue", "--role", "control", "--name", "cp-1", "--host", "127.0.0.1"]);
    assert_eq!(control.out, format!("{}\n{}\n", path("control-cp-1.pem"), path("control-cp-1-key.pem")));
    assert_eq!(pki(&["issue", "--role", "operator", "--name", "alice"]).code, 0);

    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let pem =
        Pem { ca: Some(read("ca.pem")), certificate: read("control-cp-1.pem"), key: read("control-cp-1-key.pem") };
    let plane = Plane::start(Some(ServerTls::from_pem(&pem).unwrap()));
    let (ca, cert, key) = (path("ca.pem"), path("operator-alice.pem"), path("operator-alice-key.pem"));
    let trusted = ["--admin-ca", &ca, "--admin-cert", &cert, "--admin-key", &key];
    let region = "kind: Region\nname: eu\ncoordinates: {latitude: 53, longitude: -6}\njurisdiction: EU\n";
    let applied = plane.run(&[&["apply", "-f", "-"], trusted.as_slice()].concat(), region);
    assert_eq!(applied.code, 0, "{}", applied.err);
    assert_eq!(plane.state.lock().unwrap().author, "alice");
    for plain in [plane.run(&["history"], ""), plane.run(&["fleet", "--watch"], "")] {
        let hint = "if the control plane serves TLS, give --admin-ca, --admin-cert and --admin-key";
        assert!(plain.code == 1 && plain.err.contains(hint), "{}", plain.err);
    }
}
