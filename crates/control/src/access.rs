//! Who may call what.

use meridian_identity::Identity;
use meridian_proto::node::v1::NodeIdentity;
use meridian_proto::transport::Peer;
use tonic::{Request, Status};

use crate::options::Plaintext;

/// The rules of one listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) plaintext: Plaintext,
}

impl Access {
    /// The operator behind an admin call, as it is written into commits and audit entries.
    pub(crate) fn operator<T>(self, request: &Request<T>) -> Result<String, Status> {
        let peer = peer(request)?;
        match &peer.identity {
            Some(identity) if identity.may_operate() => Ok(identity.name.clone()),
            Some(identity) => Err(Status::permission_denied(format!(
                "{identity} is no operator; an operator's certificate is needed"
            ))),
            None if self.plaintext == Plaintext::Anyone || is_loopback(peer) => {
                Ok(format!("anonymous@{}", peer.address.ip()))
            }
            None => Err(Status::permission_denied(format!(
                "{} came without a certificate; operators without one are served on loopback only",
                peer.address.ip()
            ))),
        }
    }

    /// Whether the caller may speak for a node.
    pub(crate) fn node(self, peer: &Peer<Identity>, claimed: &NodeIdentity) -> Result<(), Status> {
        match &peer.identity {
            Some(identity) if identity.may_act_as_node(&claimed.node, &claimed.region) => Ok(()),
            Some(identity) => Err(Status::permission_denied(format!(
                "{identity} may not speak for node {} of region {}",
                claimed.node, claimed.region
            ))),
            None if self.plaintext != Plaintext::Loopback || is_loopback(peer) => Ok(()),
            None => Err(Status::permission_denied(format!(
                "{} came without a certificate; plain text is served on loopback only",
                peer.address.ip()
            ))),
        }
    }
}

fn is_loopback(peer: &Peer<Identity>) -> bool {
    peer.address.ip().to_canonical().is_loopback()
}

/// Who is at the other end.
pub(crate) fn peer<T>(request: &Request<T>) -> Result<&Peer<Identity>, Status> {
    // The transport puts it there; without it nobody can be told from anybody.
    request.extensions().get::<Peer<Identity>>().ok_or_else(|| Status::internal("the connection's peer is not known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(address: &str, identity: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        let identity = identity.map(|uri| uri.parse().unwrap());
        request.extensions_mut().insert(Peer::<Identity> { address: address.parse().unwrap(), identity });
        request
    }

    #[test]
    fn operators_need_a_certificate_or_the_loopback() {
        let check = |plaintext, address: &str, identity: Option<&str>, expected: Option<&str>| {
            let author = Access { plaintext }.operator(&request(address, identity)).ok();
            assert_eq!(author.as_deref(), expected, "{address} {identity:?}");
        };
        let alice = Some("spiffe://meridian/operator/-/alice");
        let node = Some("spiffe://meridian/node/eu-west/n1");
        check(Plaintext::Loopback, "127.0.0.1:9", None, Some("anonymous@127.0.0.1"));
        check(Plaintext::Loopback, "[::ffff:127.0.0.1]:9", None, Some("anonymous@::ffff:127.0.0.1"));
        check(Plaintext::Loopback, "192.0.2.1:9", None, None);
        check(Plaintext::Nodes, "192.0.2.1:9", None, None);
        check(Plaintext::Anyone, "192.0.2.1:9", None, Some("anonymous@192.0.2.1"));
        check(Plaintext::Loopback, "192.0.2.1:9", alice, Some("alice"));
        check(Plaintext::Loopback, "127.0.0.1:9", node, None);
        check(Plaintext::Nodes, "192.0.2.1:9", node, None);
    }

    #[test]
    fn a_node_speaks_for_itself_only() {
        let claimed = NodeIdentity { node: "n1".to_owned(), region: "eu-west".to_owned(), ..NodeIdentity::default() };
        let check = |plaintext, address: &str, identity: Option<&str>, expected: bool| {
            let request = request(address, identity);
            let allowed = Access { plaintext }.node(peer(&request).unwrap(), &claimed).is_ok();
            assert_eq!(allowed, expected, "{address} {identity:?}");
        };
        check(Plaintext::Loopback, "192.0.2.1:9", Some("spiffe://meridian/node/eu-west/n1"), true);
        check(Plaintext::Loopback, "192.0.2.1:9", Some("spiffe://meridian/node/eu-west/n2"), false);
        check(Plaintext::Loopback, "192.0.2.1:9", Some("spiffe://meridian/operator/-/alice"), false);
        check(Plaintext::Loopback, "192.0.2.1:9", None, false);
        check(Plaintext::Loopback, "127.0.0.1:9", None, true);
        check(Plaintext::Nodes, "192.0.2.1:9", None, true);
        check(Plaintext::Nodes, "192.0.2.1:9", Some("spiffe://meridian/node/eu-west/n2"), false);
    }
}
