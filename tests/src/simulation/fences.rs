//! Fences: whose data may go where, and which regions a name may be answered with, whatever dies.
//!
//! The tenant `fenced` may be served in two of the three regions, which are not each other's nearest: nearness and spare
//! room always speak for the third. The name `fenced` is fenced alike. A client of this tenant resolves the name and asks
//! where it is sent; the providers' own logs tell where its requests really went.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use meridian_sim::Outcome;
use meridian_testkit::{MemoryFiles, simulated_host};
use tokio::time::sleep;

use super::client::{Question, ask, key_of, resolve};
use super::eyes::{Eyes, Stage};
use super::fleet::{nodes, nodes_of};

/// The tenant, and the name's first label.
pub(super) const FENCED: &str = "fenced";
const NAME: &str = "fenced.meridian.test";
/// Where the tenant's requests may be served, and what the name may be answered with.
const INSIDE: [&str; 2] = ["eu-west", "ap-southeast"];
/// The provider, by its host, that is inside too.
pub(super) const PROVIDER_INSIDE: &str = "provider-eu";
/// What requests of the tenant say, and no others.
const CONFIDENTIAL: &str = "confidential";
const PAUSE: Duration = Duration::from_millis(350);

/// Requests of the tenant that came where they must not, since `read` of each provider's log.
fn leaks(eyes: &Eyes, read: &mut BTreeMap<&'static str, u64>) {
    for (provider, simulator) in eyes.providers() {
        let read = read.entry(provider).or_default();
        for seen in simulator.requests(*read) {
            if seen.body.is_none() && seen.outcome == Outcome::InFlight {
                // Its body is on its way.
                break;
            }
            *read = seen.id;
            let is_ours = seen.body.is_some_and(|body| body.to_string().contains(CONFIDENTIAL));
            if is_ours && (provider != PROVIDER_INSIDE || !is_inside(seen.client.ip())) {
                let from = host_of(seen.client.ip());
                eyes.broken(format!("a request of the tenant {FENCED} went through {from} to {provider}"));
            }
        }
    }
}

/// Resolves the name and asks where it is sent, until the end.
pub(super) async fn play(seed: u64, eyes: Eyes) -> anyhow::Result<()> {
    let host = simulated_host(seed ^ 0xfe, Arc::new(MemoryFiles::default()));
    let key = key_of(seed, FENCED);
    while eyes.stage() == Stage::Starting {
        sleep(PAUSE).await;
    }
    let nodes = nodes();
    let (mut answers, mut read) = (BTreeMap::<u16, usize>::new(), BTreeMap::new());
    while eyes.stage() < Stage::Done {
        let random = |below: usize| usize::try_from(host.entropy.next_u64() % below as u64).unwrap_or_default();
        let authority = nodes.get(random(nodes.len())).map_or("", String::as_str);
        let obeys = || {
            let node = eyes.nodes().remove(authority)?;
            node.handle.control().and_then(meridian_control_client::Handle::plan).map(|_| node.start)
        };
        let before = obeys();
        let answer = resolve(&host, authority, NAME).await;
        if let Ok((rcode, addresses)) = &answer {
            // With a plan it has addresses to answer with, also when nobody lives.
            if addresses.is_empty() && before.is_some() && before == obeys() {
                eyes.broken(format!("{authority} has a plan and answers {NAME} with rcode {rcode} and no address"));
            }
            if let Some(outside) = addresses.iter().find(|address| !is_inside(**address)) {
                eyes.broken(format!("{authority} answers {NAME} with {}, outside its fence", host_of(*outside)));
            }
        }
        let addresses = answer.map(|(_, addresses)| addresses).unwrap_or_default();
        // Any of them, or a client that does not move would always ask the same region.
        if let Some(to) = addresses.get(random(addresses.len().max(1))) {
            let question = Question { key: &key, stream: random(2) == 0, text: CONFIDENTIAL };
            let answer = ask(&host, &to.to_string(), question).await;
            let status = answer.map_or(0, |(status, _)| status);
            *answers.entry(status).or_default() += 1;
            if matches!(status, 401 | 403 | 404) {
                eyes.broken(format!("the tenant {FENCED} was answered {status} inside its fence"));
            }
        }
        leaks(&eyes, &mut read);
        sleep(PAUSE).await;
    }
    eyes.say(&format!("answers to the tenant {FENCED} by status: {answers:?}"));
    Ok(())
}

fn is_inside(address: IpAddr) -> bool {
    INSIDE.into_iter().flat_map(nodes_of).any(|node| turmoil::lookup(node.as_str()) == address)
}

fn host_of(address: IpAddr) -> String {
    turmoil::reverse_lookup(address).unwrap_or_else(|| address.to_string())
}
