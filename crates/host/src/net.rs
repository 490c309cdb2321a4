//! Sockets: TCP in both directions and UDP.

use std::any::Any;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

#[cfg(target_os = "linux")]
use crate::datagram::Batch;
use crate::datagram::Datagram;
use crate::dial::first_of;

/// Connections that wait for `accept`: what Linux allows by default (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// How long `accept` rests when the process has no file descriptor left; without it the loop would spin.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// A connection on which nothing arrives is asked for life after 10 s, and given up 15 s later: sooner than pools let idle ones
/// go, so that few requests are sent to a machine that is gone without a word.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5)).with_retries(3);

/// A byte stream in both directions. `Any`, so that who needs the socket itself can ask whether it is one: the provider
/// simulator resets connections.
pub trait ByteStream: AsyncRead + AsyncWrite + Any + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// An open TCP connection.
pub struct Connection {
    /// Where the bytes flow.
    pub io: Box<dyn ByteStream>,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).field("local", &self.local).finish_non_exhaustive()
    }
}

/// A bound TCP listener.
#[async_trait]
pub trait Listen: Send + 'static {
    /// The next connection. An error of one connection does not end the listener: this returns only with a
    /// connection, or with an error that no further call can cure.
    async fn accept(&mut self) -> io::Result<Connection>;

    /// The real address, also when port 0 was asked for.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// The network that a host is connected to.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Connects to `host:port`: to the first of the name's addresses that answers. The caller sets the deadline.
    async fn connect(&self, authority: &str) -> io::Result<Connection>;

    /// As [`Network::connect`], from the local address `source`.
    async fn connect_from(&self, source: IpAddr, authority: &str) -> io::Result<Connection>;

    /// Binds a TCP listener.
    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listen>>;

    /// Binds a UDP socket.
    async fn datagram(&self, address: SocketAddr) -> io::Result<Box<dyn Datagram>>;

    /// Binds up to `count` UDP sockets to one address, among which the machine spreads what arrives by its source; one
    /// where that is not possible.
    async fn datagrams(&self, address: SocketAddr, _count: usize) -> io::Result<Vec<Box<dyn Datagram>>> {
        Ok(vec![self.datagram(address).await?])
    }
}

/// The machine's own network. Every connection has Nagle's algorithm off: events of a stream are small and late
/// ones hurt.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpNetwork;

#[async_trait]
impl Network for TcpNetwork {
    async fn connect(&self, authority: &str) -> io::Result<Connection> {
        let addresses = tokio::net::lookup_host(authority).await?;
        connected(first_of(addresses, TcpStream::connect).await?)
    }

    async fn connect_from(&self, source: IpAddr, authority: &str) -> io::Result<Connection> {
        let addresses = tokio::net::lookup_host(authority).await?;
        let reachable = addresses.filter(|address| address.is_ipv4() == source.is_ipv4());
        let from_source = async |address: SocketAddr| {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(address).await
        };
        connected(first_of(reachable, from_source).await?)
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listen>> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restarted process must get its port back while old connections linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Box::new(socket.listen(BACKLOG)?))
    }

    async fn datagram(&self, address: SocketAddr) -> io::Result<Box<dyn Datagram>> {
        Ok(Box::new(UdpSocket::bind(address).await?))
    }

    async fn datagrams(&self, address: SocketAddr, count: usize) -> io::Result<Vec<Box<dyn Datagram>>> {
        let mut sockets: Vec<Box<dyn Datagram>> = Vec::with_capacity(count.max(1));
        let mut address = address;
        for _ in 0..count.max(1) {
            let socket = shared(address)?;
            // With port 0 all get the first one's.
            address = socket.local_addr()?;
            sockets.push(Box::new(socket));
        }
        Ok(sockets)
    }
}

/// A UDP socket that shares its address with others of this user's.
fn shared(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// A connection that we have made: it waits for an answer, or idles in a pool.
fn connected(stream: TcpStream) -> io::Result<Connection> {
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
    connection(stream)
}

fn connection(stream: TcpStream) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    Ok(Connection { peer: stream.peer_addr()?, local: stream.local_addr()?, io: Box::new(stream) })
}

#[async_trait]
impl Listen for TcpListener {
    async fn accept(&mut self) -> io::Result<Connection> {
        loop {
            // A connection that is gone before it is accepted is its client's affair.
            match TcpListener::accept(self).await {
                Ok((stream, _)) => {
                    if let Ok(connection) = connection(stream) {
                        return Ok(connection);
                    }
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(_) => tokio::time::sleep(ACCEPT_REST).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[async_trait]
impl Datagram for UdpSocket {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        UdpSocket::recv_from(self, buffer).await
    }

    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        UdpSocket::send_to(self, bytes, to).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        UdpSocket::local_addr(self)
    }

    #[cfg(target_os = "linux")]
    async fn recv_batch(&self, batch: &mut Batch) -> io::Result<()> {
        crate::mmsg::receive(self, batch).await
    }

    #[cfg(target_os = "linux")]
    async fn send_batch(&self, batch: &Batch) -> io::Result<()> {
        crate::mmsg::send(self, batch).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Over every socket of one address and back, a batch at a time.
    async fn exchange(address: &str) {
        let sockets = TcpNetwork.datagrams(address.parse().unwrap(), 3).await.unwrap();
        let to = sockets[0].local_addr().unwrap();
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == to));
        let mut clients = Vec::new();
        for i in 0..40u8 {
            let client = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).await.unwrap();
            client.send_to(&[i; 3], to).await.unwrap();
            clients.push(client);
        }
        let echo = async |socket: &dyn Datagram| {
            let (mut received, mut sent) = (Batch::new(8, 100), Batch::new(8, 100));
            loop {
                socket.recv_batch(&mut received).await.unwrap();
                sent.clear();
                received.iter().for_each(|(bytes, peer)| sent.push(bytes, peer));
                // One that cannot be sent does not keep the others back.
                let mut with_bad = Batch::new(9, 100);
                with_bad.push(b"bad", SocketAddr::new(to.ip(), 0));
                sent.iter().for_each(|(bytes, peer)| with_bad.push(bytes, peer));
                assert!(socket.send_batch(&with_bad).await.is_err());
            }
        };
        let answers = async {
            for (i, client) in (0u8..).zip(&clients) {
                let mut buffer = [0; 10];
                let length = client.recv(&mut buffer).await.unwrap();
                assert_eq!(buffer[..length], [i; 3]);
            }
        };
        tokio::select! {
            () = echo(&*sockets[0]) => {}
            () = echo(&*sockets[1]) => {}
            () = echo(&*sockets[2]) => {}
            done = tokio::time::timeout(Duration::from_secs(10), answers) => done.unwrap(),
        }
    }

    #[tokio::test]
    async fn sockets_that_share_an_address_exchange_batches_in_both_families() {
        exchange("127.0.0.1:0").await;
        exchange("[::1]:0").await;
    }

    #[tokio::test]
    async fn a_connection_can_choose_its_source_address() {
        let network = TcpNetwork;
        let mut listener = network.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        let source: IpAddr = "127.0.0.9".parse().unwrap();
        let (server, client) = tokio::join!(listener.accept(), network.connect_from(source, &to));
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        assert_eq!(server.peer.ip(), source);
        client.io.write_all(b"hello").await.unwrap();
        let mut buffer = [0; 5];
        server.io.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"hello");
    }
}
