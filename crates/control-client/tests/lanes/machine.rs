//! A machine in memory: a network of pipes, files that can fail and be copied, counted randomness. Time can be paused.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use meridian_host::{Connection, Datagram, Entropy, Files, Host, Listen, Network, WallClock};
use tokio::sync::{mpsc, watch};

/// Bytes in flight in one pipe.
const PIPE: usize = 64 << 10;

#[derive(Clone, Default)]
pub(crate) struct Machine {
    pub(crate) net: Arc<Pipes>,
    pub(crate) files: Arc<MemoryFiles>,
    /// By how much the wall clock has gone on; it does so only at a test's word.
    pub(crate) passed_ms: Arc<AtomicI64>,
}

impl Machine {
    pub(crate) fn host(&self) -> Host {
        Host {
            net: self.net.clone(),
            clock: Arc::new(Clock(self.passed_ms.clone())),
            entropy: Arc::new(Counter::default()),
            files: self.files.clone(),
            environment: Arc::new(meridian_host::ProcessEnvironment),
        }
    }

    /// The machine as it would be after its power failed now: same network, what is on the disk.
    pub(crate) fn after_power_loss(&self) -> Self {
        let files = self.files.content.lock().unwrap().clone();
        Self {
            net: self.net.clone(),
            files: Arc::new(MemoryFiles { content: Mutex::new(files), ..Default::default() }),
            passed_ms: self.passed_ms.clone(),
        }
    }
}

struct Clock(Arc<AtomicI64>);

impl WallClock for Clock {
    fn now_unix_ms(&self) -> i64 {
        1_790_000_000_000 + self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        bytes.iter_mut().zip(next.into_iter().cycle()).for_each(|(byte, next)| *byte = next);
    }
}

#[derive(Default)]
pub(crate) struct Pipes {
    listeners: Mutex<BTreeMap<String, mpsc::Sender<Connection>>>,
    pumps: Mutex<Vec<(String, tokio::task::AbortHandle)>>,
}

impl Pipes {
    /// Whoever connects to `authority` is accepted by what this returns.
    pub(crate) fn bind(&self, authority: &str) -> Box<dyn Listen> {
        let (sender, connections) = mpsc::channel(64);
        self.listeners.lock().unwrap().insert(authority.to_owned(), sender);
        Box::new(PipeListener(connections))
    }

    /// Nobody listens there any more, and every connection ends.
    pub(crate) fn cut(&self, authority: &str) {
        self.listeners.lock().unwrap().remove(authority);
        self.pumps.lock().unwrap().retain(|(to, pump)| {
            if to == authority {
                pump.abort();
            }
            to != authority
        });
    }
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

#[async_trait]
impl Network for Pipes {
    async fn connect(&self, authority: &str) -> io::Result<Connection> {
        let (near, mut middle) = tokio::io::duplex(PIPE);
        let (mut other_middle, far) = tokio::io::duplex(PIPE);
        let pump = tokio::spawn(async move {
            let _ = tokio::io::copy_bidirectional(&mut middle, &mut other_middle).await;
        });
        self.pumps.lock().unwrap().push((authority.to_owned(), pump.abort_handle()));
        let pipe = |io| Connection { io: Box::new(io), peer: nowhere(), local: nowhere() };
        let listener = self.listeners.lock().unwrap().get(authority).cloned();
        match listener {
            Some(listener) if listener.send(pipe(far)).await.is_ok() => Ok(pipe(near)),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    async fn connect_from(&self, _: IpAddr, authority: &str) -> io::Result<Connection> {
        self.connect(authority).await
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listen>> {
        Ok(self.bind(&address.to_string()))
    }

    async fn datagram(&self, _: SocketAddr) -> io::Result<Box<dyn Datagram>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct PipeListener(mpsc::Receiver<Connection>);

#[async_trait]
impl Listen for PipeListener {
    async fn accept(&mut self) -> io::Result<Connection> {
        match self.0.recv().await {
            Some(connection) => Ok(connection),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(nowhere())
    }
}

#[derive(Default)]
pub(crate) struct MemoryFiles {
    pub(crate) content: Mutex<BTreeMap<PathBuf, Vec<u8>>>,
    pub(crate) fails: AtomicBool,
    /// Whoever writes waits until it does no longer.
    pub(crate) hangs: watch::Sender<bool>,
}

impl MemoryFiles {
    async fn hang(&self) {
        let _ = self.hangs.subscribe().wait_for(|hangs| !hangs).await;
    }
}

#[async_trait]
impl Files for MemoryFiles {
    async fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.content.lock().unwrap().get(path).cloned().ok_or(io::ErrorKind::NotFound.into())
    }

    async fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.hang().await;
        if self.fails.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.content.lock().unwrap().insert(path.to_owned(), content.to_owned());
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.hang().await;
        self.content.lock().unwrap().remove(path);
        Ok(())
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.content.lock().unwrap().keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }
}
