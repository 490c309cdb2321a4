//! Every socket of the instance, bound before anything starts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use meridian_host::{Datagram, Listen, Network};

/// Each node has an address of its own, so that a DNS answer, which carries no port, is directly usable.
const NODE_ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 0, 1, 2), Ipv4Addr::new(127, 0, 1, 3)];

/// With port 0, how often another port is tried until all addresses have it free.
const PORT_TRIES: usize = 16;

/// Ports to bind; 0 lets the system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The admin API, on 127.0.0.1.
    pub admin: u16,
    /// The control plane's metrics, on 127.0.0.1.
    pub metrics: u16,
    /// The nodes' HTTP, the same on each node's address.
    pub http: u16,
    /// DNS, on each node's address.
    pub dns: u16,
    /// The provider simulator, on 127.0.0.1.
    pub sim: u16,
}

/// What cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} ({what}); is another instance running? {flag} chooses another port, 0 any free one"
)]
pub struct BindError {
    what: &'static str,
    address: SocketAddr,
    flag: &'static str,
    #[source]
    source: io::Error,
}

/// Bound sockets.
pub(crate) struct Sockets {
    pub(crate) admin: Box<dyn Listen>,
    /// For the nodes' lanes, with mutual TLS; nobody types this port.
    pub(crate) lanes: Box<dyn Listen>,
    pub(crate) metrics: Box<dyn Listen>,
    pub(crate) sim: Box<dyn Listen>,
    pub(crate) nodes: Vec<NodeSockets>,
    /// False where the platform has only 127.0.0.1: then ports differ, and a DNS answer alone is not enough.
    pub(crate) own_addresses: bool,
}

/// Bound sockets of one node.
pub(crate) struct NodeSockets {
    pub(crate) http: Box<dyn Listen>,
    /// For the other nodes, with mutual TLS; nobody types this port.
    pub(crate) peers: Box<dyn Listen>,
    pub(crate) udp: Box<dyn Datagram>,
    pub(crate) tcp: Box<dyn Listen>,
}

/// Binds everything, or says what is taken.
pub(crate) async fn bind(network: &dyn Network, ports: Ports) -> Result<Sockets, BindError> {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let admin = tcp(network, local(ports.admin), "admin API", "--admin-port").await?;
    let lanes = tcp(network, local(0), "node lanes", "--admin-port").await?;
    let metrics = tcp(network, local(ports.metrics), "metrics", "--metrics-port").await?;
    let sim = tcp(network, local(ports.sim), "simulator", "--sim-port").await?;
    let own_addresses = has_own_addresses(network).await;
    let https = listeners(network, own_addresses, ports.http, "HTTP", "--http-port").await?;
    let tcps = listeners(network, own_addresses, ports.dns, "DNS over TCP", "--dns-port").await?;
    let mut nodes = Vec::new();
    for (http, tcp) in https.into_iter().zip(tcps) {
        let address = tcp.local_addr().unwrap_or_else(|_| local(ports.dns));
        let udp = network.datagram(address).await.map_err(|source| BindError {
            what: "DNS over UDP",
            address,
            flag: "--dns-port",
            source,
        })?;
        let beside = http.local_addr().map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip());
        let peers = self::tcp(network, SocketAddr::new(beside, 0), "other nodes", "--http-port").await?;
        nodes.push(NodeSockets { http, peers, udp, tcp });
    }
    Ok(Sockets { admin, lanes, metrics, sim, nodes, own_addresses })
}

/// Whether every address of 127.0.0.0/8 is there, as on Linux, or only 127.0.0.1, as on macOS.
async fn has_own_addresses(network: &dyn Network) -> bool {
    for address in NODE_ADDRESSES {
        match network.listen(SocketAddr::from((address, 0))).await {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return false,
            _ => {}
        }
    }
    true
}

/// One listener a node: own addresses and one port, or one address and ports that follow each other.
async fn listeners(
    network: &dyn Network,
    own_addresses: bool,
    port: u16,
    what: &'static str,
    flag: &'static str,
) -> Result<Vec<Box<dyn Listen>>, BindError> {
    let mut tries = if port == 0 && own_addresses { PORT_TRIES } else { 1 };
    loop {
        tries = tries.saturating_sub(1);
        let bound = listeners_once(network, own_addresses, port, what, flag).await;
        if bound.is_ok() || tries == 0 {
            return bound;
        }
    }
}

async fn listeners_once(
    network: &dyn Network,
    own_addresses: bool,
    mut port: u16,
    what: &'static str,
    flag: &'static str,
) -> Result<Vec<Box<dyn Listen>>, BindError> {
    let mut listeners: Vec<Box<dyn Listen>> = Vec::new();
    for address in NODE_ADDRESSES {
        let address = if own_addresses { IpAddr::V4(address) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let listener = tcp(network, SocketAddr::new(address, port), what, flag).await?;
        if let Ok(real) = listener.local_addr() {
            port = match (own_addresses, port) {
                (true, _) => real.port(),
                (false, 0) => 0,
                (false, port) => port.saturating_add(1),
            };
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

async fn tcp(
    network: &dyn Network,
    address: SocketAddr,
    what: &'static str,
    flag: &'static str,
) -> Result<Box<dyn Listen>, BindError> {
    network.listen(address).await.map_err(|source| BindError { what, address, flag, source })
}

#[cfg(test)]
mod tests {
    use meridian_host::TcpNetwork;

    use super::*;

    const ANY: Ports = Ports { admin: 0, metrics: 0, http: 0, dns: 0, sim: 0 };

    #[tokio::test]
    async fn nodes_share_one_port_on_addresses_of_their_own() {
        let sockets = bind(&TcpNetwork, ANY).await.unwrap();
        assert!(sockets.own_addresses);
        let http: Vec<_> = sockets.nodes.iter().map(|node| node.http.local_addr().unwrap()).collect();
        assert!(http.iter().all(|address| address.port() == http[0].port()), "{http:?}");
        for node in &sockets.nodes {
            assert_eq!(node.udp.local_addr().unwrap(), node.tcp.local_addr().unwrap());
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_flag_that_chooses_another() {
        let taken = TcpNetwork.listen("127.0.1.2:0".parse().unwrap()).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind(&TcpNetwork, Ports { http: port, ..ANY }).await.err().unwrap().to_string();
        assert!(error.contains(&format!("127.0.1.2:{port} (HTTP)")) && error.contains("--http-port"), "{error}");
    }
}
