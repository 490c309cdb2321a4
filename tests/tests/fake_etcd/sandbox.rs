//! A cluster of three fake members in simulated time, and one test on a host of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use meridian_store::Store;
use meridian_store::battery::Harness;
use meridian_store_etcd::{EtcdOptions, EtcdStore};
use meridian_testkit::{MemoryFiles, simulated_host};
use meridian_tests::etcd::{Cluster, Member};
use tokio::time::sleep;

pub(crate) const MEMBERS: usize = 3;
pub(crate) const PORT: u16 = 2379;
/// Longest simulated time of a case.
const LIMIT: Duration = Duration::from_secs(300);
/// A machine that is switched off and on again is away for this long.
const AWAY: Duration = Duration::from_millis(500);
/// Far more than any of this needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Case = Pin<Box<dyn Future<Output = ()>>>;

/// What the test wants of the world outside of its host.
#[derive(Default)]
pub(crate) struct Wishes {
    restarts: AtomicU64,
    restarted: AtomicU64,
    /// Bit `n`: member `n` is to be down.
    pub(crate) down: AtomicU64,
}

/// A client of a cluster of three.
pub(crate) struct Faked {
    pub(crate) store: Arc<EtcdStore>,
    pub(crate) cluster: Cluster,
    pub(crate) wishes: Arc<Wishes>,
}

#[async_trait]
impl Harness for Faked {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn restart(&mut self) {
        let wanted = self.wishes.restarts.fetch_add(1, Ordering::SeqCst) + 1;
        while self.wishes.restarted.load(Ordering::SeqCst) < wanted {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Runs one case against a fresh cluster in simulated time.
pub(crate) fn simulated(case: impl FnOnce(Faked) -> Case + 'static) {
    let mut sim = turmoil::Builder::new()
        .rng_seed(7)
        .simulation_duration(LIMIT)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(2))
        .tcp_capacity(4096)
        .build();
    let now_ms = Arc::new(AtomicU64::new(0));
    let clock = now_ms.clone();
    let cluster = Cluster::new(7, MEMBERS, move || Duration::from_millis(clock.load(Ordering::Relaxed)));
    let hosts: Vec<String> = (0..MEMBERS).map(host).collect();
    for (n, name) in hosts.iter().enumerate() {
        let cluster = cluster.clone();
        sim.host(name.clone(), move || {
            let member = Member::new(cluster.clone(), n);
            async move {
                let host = simulated_host(1, Arc::new(MemoryFiles::default()));
                let listener = host.net.listen(([0, 0, 0, 0], PORT).into()).await?;
                Ok(member.serve(listener).await?)
            }
        });
    }
    let wishes = Arc::new(Wishes::default());
    let (endpoints, cluster_of_case, wishes_of_case) = (hosts.clone(), cluster.clone(), wishes.clone());
    sim.client("test", async move {
        let store = Arc::new(connect(&endpoints).await);
        case(Faked { store, cluster: cluster_of_case, wishes: wishes_of_case }).await;
        Ok(())
    });
    let mut away_since = None;
    loop {
        now_ms.store(u64::try_from(sim.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
        let is_wanted = wishes.restarts.load(Ordering::SeqCst) > wishes.restarted.load(Ordering::SeqCst);
        match away_since {
            None if is_wanted => {
                hosts.iter().for_each(|host| sim.crash(host.as_str()));
                away_since = Some(sim.elapsed());
            }
            Some(since) if sim.elapsed() >= since + AWAY => {
                hosts.iter().for_each(|host| sim.bounce(host.as_str()));
                away_since = None;
                wishes.restarted.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        for (n, host) in hosts.iter().enumerate().filter(|_| away_since.is_none()) {
            let is_down = wishes.down.load(Ordering::SeqCst) & (1 << n) != 0;
            if is_down && sim.is_host_running(host.as_str()) {
                sim.crash(host.as_str());
            } else if !is_down && !sim.is_host_running(host.as_str()) {
                sim.bounce(host.as_str());
            }
        }
        if sim.step().unwrap() {
            return;
        }
    }
}

/// The host of member `n`, from 0.
pub(crate) fn host(n: usize) -> String {
    format!("etcd-{n}")
}

/// A store that asks these members, the first one first.
pub(crate) async fn connect(hosts: &[String]) -> EtcdStore {
    let here = simulated_host(2, Arc::new(MemoryFiles::default()));
    let endpoints = hosts.iter().map(|name| format!("http://{name}:{PORT}"));
    EtcdStore::connect_over(EtcdOptions::new(endpoints), here.net).await.unwrap()
}
