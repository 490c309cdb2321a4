//! A real etcd for tests: processes on loopback with a temporary directory, to be killed, stopped and restarted.
//!
//! etcd is never optional here: without the binary a test fails and says how to get it.

#![expect(clippy::expect_used, clippy::panic, reason = "test code, behind a feature: a failed set-up fails the test")]

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use meridian_store::Store;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{EtcdOptions, EtcdStore};

/// Longest wait for a started etcd to answer, elections and a busy machine included.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a start is tried again with other ports, when somebody took one between our choice and its use.
const START_ATTEMPTS: usize = 5;

const POLL_EVERY: Duration = Duration::from_millis(50);

/// Certificate files of a server that speaks TLS and wants client certificates.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The authorities of client certificates.
    pub ca: PathBuf,
    /// The server's certificate.
    pub cert: PathBuf,
    /// The server's key.
    pub key: PathBuf,
}

/// One member. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct EtcdProcess {
    dir: TempDir,
    arguments: Vec<String>,
    client_port: u16,
    tls: bool,
    child: Option<Child>,
}

impl EtcdProcess {
    /// Starts a cluster of one and waits until it answers.
    pub async fn start() -> Self {
        Self::start_cluster(1).await.pop().expect("a cluster of one has a member")
    }

    /// Starts a cluster of `size` members and waits until each of them answers.
    pub async fn start_cluster(size: usize) -> Vec<Self> {
        for _ in 0..START_ATTEMPTS {
            let mut members = spawn_cluster(size, None);
            if answers(&mut members).await {
                return members;
            }
        }
        panic!("etcd does not start, {START_ATTEMPTS} times with other ports");
    }

    /// Starts a cluster of one that speaks TLS. It does not wait: only a client with the right files could.
    pub fn spawn_tls(tls: &ServerTls) -> Self {
        spawn_cluster(1, Some(tls)).pop().expect("a cluster of one has a member")
    }

    /// The client URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.client_port)
    }

    /// What etcd wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_file(self.dir.path())).unwrap_or_default()
    }

    /// Kills it, as a machine that loses power.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("kill etcd");
        }
    }

    /// Starts it again, after a kill, with its data and ports. It does not wait for an answer.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "etcd still runs");
        self.child = Some(spawn(self.dir.path(), &self.arguments));
    }

    /// Kills it, starts it again, and waits until it answers.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start_again();
        assert!(answers(std::slice::from_mut(self)).await, "etcd does not come back:\n{}", self.log());
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`EtcdProcess::pause`].
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).expect("etcd runs");
        let id = Pid::from_raw(i32::try_from(id).expect("a process id"));
        kill(id, signal).expect("signal etcd");
    }

    fn has_exited(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }
}

fn spawn_cluster(size: usize, tls: Option<&ServerTls>) -> Vec<EtcdProcess> {
    let ports: Vec<(u16, u16)> =
        free_ports(size * 2).chunks(2).filter_map(|p| Some((*p.first()?, *p.get(1)?))).collect();
    let peer = |port: u16| format!("http://127.0.0.1:{port}");
    let cluster: Vec<_> = ports.iter().enumerate().map(|(n, (_, port))| format!("m{n}={}", peer(*port))).collect();
    let member = |(n, (client_port, peer_port)): (usize, &(u16, u16))| {
        let dir = TempDir::new().expect("make a directory for etcd");
        let client = format!("{}://127.0.0.1:{client_port}", if tls.is_some() { "https" } else { "http" });
        let mut arguments = vec![
            format!("--name=m{n}"),
            format!("--data-dir={}", dir.path().join("data").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={}", peer(*peer_port)),
            format!("--initial-advertise-peer-urls={}", peer(*peer_port)),
            format!("--initial-cluster={}", cluster.join(",")),
            "--logger=zap".to_owned(),
        ];
        if let Some(tls) = tls {
            arguments.push("--client-cert-auth".to_owned());
            arguments.push(format!("--trusted-ca-file={}", tls.ca.display()));
            arguments.push(format!("--cert-file={}", tls.cert.display()));
            arguments.push(format!("--key-file={}", tls.key.display()));
        }
        let child = Some(spawn(dir.path(), &arguments));
        EtcdProcess { dir, arguments, client_port: *client_port, tls: tls.is_some(), child }
    };
    ports.iter().enumerate().map(member).collect()
}

fn spawn(dir: &Path, arguments: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(log_file(dir)).expect("open etcd's log");
    let started = Command::new("etcd")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("share etcd's log"))
        .stderr(log)
        .kill_on_drop(true)
        .spawn();
    match started {
        Ok(child) => child,
        Err(e) if e.kind() == ErrorKind::NotFound => panic!(
            "this test needs the program `etcd`, which is not installed: apt-get install --no-install-recommends \
             etcd-server (and keep its system service off, for example with a policy-rc.d that exits with 101)"
        ),
        Err(e) => panic!("cannot start etcd: {e}"),
    }
}

/// Ports that were free a moment ago; all are held while they are drawn, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("bind a free port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("a bound port").port()).collect()
}

/// Waits until every member answers a linearizable read; false when one has exited.
async fn answers(members: &mut [EtcdProcess]) -> bool {
    let wait = async {
        for member in members.iter_mut() {
            let store = EtcdStore::connect(EtcdOptions::new([member.endpoint()])).await.expect("options are right");
            while store.cluster_id().await.is_err() {
                if member.has_exited() {
                    return false;
                }
                tokio::time::sleep(POLL_EVERY).await;
            }
        }
        true
    };
    match tokio::time::timeout(START_TIMEOUT, wait).await {
        Ok(answered) => answered,
        Err(_) => panic!("etcd does not answer within {START_TIMEOUT:?}"),
    }
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("etcd.log")
}
