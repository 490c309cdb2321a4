//! The figures, and their targets.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;

use super::counted::Traffic;

/// A commit is applied by 99 of 100 nodes within this time.
const P99: Duration = Duration::from_millis(500);
/// A node that comes back to the commit that it holds costs the control plane so many bytes.
const RECONNECT_BYTES: u64 = 1024;
/// The streams of one node, at the control plane.
const NODE_KIB: u64 = 256;
/// A machine that does other things too may need so many times as much.
const TOLERANCE: u32 = 2;

/// What was measured.
#[derive(Debug)]
pub struct Figures {
    nodes: usize,
    /// Ascending.
    propagation: Vec<Duration>,
    kib: u64,
    reconnects: usize,
    traffic: Traffic,
}

impl Figures {
    pub(super) fn new(
        nodes: usize,
        mut propagation: Vec<Duration>,
        kib: u64,
        reconnects: usize,
        traffic: Traffic,
    ) -> Self {
        propagation.sort();
        Self { nodes, propagation, kib, reconnects, traffic }
    }

    fn quantile(&self, percent: usize) -> Duration {
        let at = (self.propagation.len() * percent / 100).min(self.propagation.len().saturating_sub(1));
        self.propagation.get(at).copied().unwrap_or_default()
    }

    fn node_kib(&self) -> u64 {
        self.kib / (self.nodes as u64).max(1)
    }

    fn per_reconnect(&self, bytes: u64) -> u64 {
        bytes / (self.reconnects as u64).max(1)
    }

    /// # Errors
    /// Names what is over twice its target.
    pub fn check(&self) -> anyhow::Result<()> {
        let (p99, down) = (self.quantile(99), self.per_reconnect(self.traffic.down));
        ensure!(p99 <= P99 * TOLERANCE, "p99 of {p99:?} is over twice the target of {P99:?}");
        ensure!(
            down <= RECONNECT_BYTES * u64::from(TOLERANCE),
            "{down} bytes for a reconnect are over twice the target of {RECONNECT_BYTES}"
        );
        let kib = self.node_kib();
        ensure!(kib <= NODE_KIB * u64::from(TOLERANCE), "{kib} KiB a node are over twice the target of {NODE_KIB}");
        Ok(())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        writeln!(
            f,
            "commit -> applied, {} nodes, {} samples: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms (target: p99 {:.0} ms)",
            self.nodes,
            self.propagation.len(),
            ms(self.quantile(50)),
            ms(self.quantile(99)),
            ms(self.quantile(100)),
            ms(P99)
        )?;
        writeln!(
            f,
            "memory of one node's two streams at the control plane: {} KiB (target: {NODE_KIB} KiB)",
            self.node_kib()
        )?;
        write!(
            f,
            "{} reconnects to the commit held, after a restart: {} bytes down, {} bytes up, each (target: {RECONNECT_BYTES} down)",
            self.reconnects,
            self.per_reconnect(self.traffic.down),
            self.per_reconnect(self.traffic.up)
        )
    }
}
