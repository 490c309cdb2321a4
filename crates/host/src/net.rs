//! Sockets: TCP in both directions and UDP.

use std::any::Any;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

/// Connections that wait for `accept`: what Linux allows by default (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// How long `accept` rests when the process has no file descriptor left; without it the loop would spin.
const ACCEPT_REST: Duration = Duration::from_millis(50);

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

/// A bound UDP socket.
#[async_trait]
pub trait Datagram: Send + Sync + 'static {
    /// Receives one datagram into `buffer`: its length and where it came from.
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends one datagram.
    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize>;

    /// The real address, also when port 0 was asked for.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// The network that a host is connected to.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Connects to `host:port`, trying each address that the name has. The caller sets the deadline.
    async fn connect(&self, authority: &str) -> io::Result<Connection>;

    /// As [`Network::connect`], from the local address `source`.
    async fn connect_from(&self, source: IpAddr, authority: &str) -> io::Result<Connection>;

    /// Binds a TCP listener.
    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listen>>;

    /// Binds a UDP socket.
    async fn datagram(&self, address: SocketAddr) -> io::Result<Box<dyn Datagram>>;
}

/// The machine's own network. Every connection has Nagle's algorithm off: events of a stream are small and late
/// ones hurt.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpNetwork;

#[async_trait]
impl Network for TcpNetwork {
    async fn connect(&self, authority: &str) -> io::Result<Connection> {
        connection(TcpStream::connect(authority).await?)
    }

    async fn connect_from(&self, source: IpAddr, authority: &str) -> io::Result<Connection> {
        let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address of that family");
        for address in tokio::net::lookup_host(authority).await? {
            if address.is_ipv4() != source.is_ipv4() {
                continue;
            }
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.bind(SocketAddr::new(source, 0))?;
            match socket.connect(address).await {
                Ok(stream) => return connection(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
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
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

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
