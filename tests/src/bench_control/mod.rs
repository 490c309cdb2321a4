//! How fast and how large the control plane is: one real replica in a process of its own, with an embedded store, and
//! nodes that are everything but requests in this one.

mod counted;
mod figures;
mod node;
mod plane;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use meridian_host::Host;
use meridian_proto::admin::v1::CreateKeyRequest;
use meridian_types::KeyHash;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

pub use figures::Figures;
use node::{Applied, SimulatedNode};
use plane::Plane;
pub use plane::serve;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Keys of clients, which every node holds.
const KEYS: usize = 100;

/// Measures everything, one after the other.
///
/// # Errors
/// Something did not work; figures that are too high are none.
pub async fn measure(nodes: usize, commits: u64, reconnects: usize) -> anyhow::Result<Figures> {
    let host = Host::real();
    let mut plane = Plane::start(&host).await.context("start the control plane")?;
    plane.apply(0).await?;
    for number in 0..KEYS {
        let hash = KeyHash::of(&number.to_string()).0.as_bytes().to_vec().into();
        let key =
            CreateKeyRequest { request_id: plane.request_id(), tenant: "acme".to_owned(), hash, ..Default::default() };
        plane.admin.create_key(key).await.context("create a key")?;
    }
    let before_kib = plane.resident_kib().await?;
    let (applied, mut came) = mpsc::channel(nodes.max(1));
    let mut fleet = Vec::with_capacity(nodes);
    for number in 0..nodes {
        fleet.push(SimulatedNode::start(&host, number, &plane.address, applied.clone())?);
    }
    all_applied(&mut came, 1, nodes).await?;
    // The streams have done their first work; what they hold now they keep.
    let resident_kib = plane.settled_kib().await?;
    let mut propagation = Vec::with_capacity(nodes);
    for commit in 2..commits.saturating_add(2) {
        let began = Instant::now();
        plane.apply(commit - 1).await?;
        let times = all_applied(&mut came, commit, nodes).await?;
        propagation.extend(times.into_iter().map(|at| at.saturating_duration_since(began)));
    }
    let held = fleet.first().context("at least one node is needed")?.held().context("the nodes hold nothing")?;
    for node in fleet {
        node.stop().await;
    }
    plane.restart().await.context("restart the control plane")?;
    let traffic = counted::reconnect(&host, &plane.address, &Arc::new(held), reconnects).await?;
    plane.stop().await?;
    Ok(Figures::new(nodes, propagation, resident_kib.saturating_sub(before_kib), reconnects, traffic))
}

/// When each node had the commit.
async fn all_applied(came: &mut mpsc::Receiver<Applied>, commit: u64, nodes: usize) -> anyhow::Result<Vec<Instant>> {
    let mut times = Vec::with_capacity(nodes);
    while times.len() < nodes {
        let applied = timeout(PATIENCE, came.recv()).await.with_context(|| format!("commit {commit}"))?;
        let applied = applied.context("no node is left")?;
        ensure!(applied.commit <= commit, "commit {} came before {commit}", applied.commit);
        if applied.commit == commit {
            times.push(applied.at);
        }
    }
    Ok(times)
}
