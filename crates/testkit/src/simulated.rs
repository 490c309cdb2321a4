//! A host inside a `turmoil` simulation: its sockets, a clock that follows simulated time, and seeded randomness.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use meridian_host::{Connection, Datagram, Entropy, Environment, Files, Host, Listen, Network, WallClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

/// Simulated days begin here: 2026-01-01T00:00:00Z.
const START_UNIX_MS: i64 = 1_767_225_600_000;

/// A host with everything simulated. Call it inside the simulated host, with a seed of its own.
pub fn simulated_host(seed: u64, files: Arc<dyn Files>) -> Host {
    Host {
        net: Arc::new(SimulatedNetwork),
        clock: Arc::new(SimulatedClock),
        entropy: Arc::new(SeededEntropy::new(seed)),
        files,
        environment: Arc::new(EmptyEnvironment),
    }
}

/// No variable is set: a simulation depends on its seed alone.
#[derive(Debug, Clone, Copy)]
struct EmptyEnvironment;

impl Environment for EmptyEnvironment {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// Follows simulated time.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedClock;

impl WallClock for SimulatedClock {
    fn now_unix_ms(&self) -> i64 {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        START_UNIX_MS.saturating_add(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Randomness that a seed determines.
#[derive(Debug)]
pub struct SeededEntropy {
    generator: Mutex<StdRng>,
}

impl SeededEntropy {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self { generator: Mutex::new(StdRng::seed_from_u64(seed)) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.generator.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

/// The sockets of the simulated host that the caller runs on.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedNetwork;

#[async_trait]
impl Network for SimulatedNetwork {
    async fn connect(&self, authority: &str) -> io::Result<Connection> {
        connection(TcpStream::connect(authority).await?)
    }

    async fn connect_from(&self, _source: IpAddr, authority: &str) -> io::Result<Connection> {
        // A simulated host has one address.
        self.connect(authority).await
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listen>> {
        Ok(Box::new(SimulatedListener(TcpListener::bind(address).await?)))
    }

    async fn datagram(&self, address: SocketAddr) -> io::Result<Box<dyn Datagram>> {
        Ok(Box::new(SimulatedDatagram(UdpSocket::bind(address).await?)))
    }
}

fn connection(stream: TcpStream) -> io::Result<Connection> {
    Ok(Connection { peer: stream.peer_addr()?, local: stream.local_addr()?, io: Box::new(stream) })
}

struct SimulatedListener(TcpListener);

#[async_trait]
impl Listen for SimulatedListener {
    async fn accept(&mut self) -> io::Result<Connection> {
        loop {
            let (stream, _) = self.0.accept().await?;
            if let Ok(connection) = connection(stream) {
                return Ok(connection);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct SimulatedDatagram(UdpSocket);

#[async_trait]
impl Datagram for SimulatedDatagram {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer).await
    }

    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.0.send_to(bytes, to).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
