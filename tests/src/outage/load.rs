//! The clients: they come at a steady rate, whatever happens to those before them, until the primary has everything again.

use std::sync::Arc;
use std::time::Duration;

use meridian_host::Host;
use meridian_testkit::{MemoryFiles, simulated_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::answer::{Wish, ask, metrics};
use super::eyes::{Eyes, Outcome, Stage};
use super::hosts::key;
use super::promises;
use super::strike::Outage;

/// Requests a second.
pub(super) const RATE: u32 = 25;
/// Of a hundred clients so many leave before the end.
const LEAVING: u64 = 10;
/// A client comes up to so long after its turn, so that none has a rhythm of the node's.
const SPREAD: Duration = Duration::from_millis(20);
/// Nothing more is to be seen once the primary has had all of the traffic for so many seconds ...
const BACK_FOR: usize = 2;
/// ... which has been promised for long before this.
const LATEST: Duration = Duration::from_secs(33);

/// Plays the clients, and says in the end what is wrong with the whole.
pub(super) async fn play(seed: u64, outage: &Outage, eyes: Eyes) -> anyhow::Result<()> {
    let host = simulated_host(seed ^ 0xc1, Arc::new(MemoryFiles::default()));
    let key = key(seed);
    eyes.reach(Stage::Load).await;
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0u32.. {
        sleep_until(start + Duration::from_secs(1) * number / RATE).await;
        while clients.try_join_next().is_some() {}
        if number > 0 && number.is_multiple_of(RATE) {
            tell(&eyes);
            if is_over(outage, &eyes) {
                break;
            }
        }
        let random = host.entropy.next_u64();
        let wish = match random % 100 {
            0..LEAVING => Wish::Glimpse,
            n if n % 2 == 0 => Wish::Stream,
            _ => Wish::Whole,
        };
        let late = SPREAD.mul_f64(host.entropy.unit());
        clients.spawn(client(host.clone(), key.clone(), wish, late, outage.clone(), eyes.clone()));
    }
    // Each has a patience.
    while clients.join_next().await.is_some() {}
    // For the node to have taken note, and to have been looked at.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let metrics = metrics(&host).await?;
    eyes.enter(Stage::Stopping);
    eyes.reach(Stage::Stopped).await;
    let broken = promises::broken(outage, &eyes.seen(), &metrics);
    broken.into_iter().for_each(|what| eyes.broken(what));
    Ok(())
}

async fn client(host: Host, key: String, wish: Wish, late: Duration, outage: Outage, eyes: Eyes) {
    tokio::time::sleep(late).await;
    let begun = eyes.now();
    let answer = ask(&host, &key, wish).await;
    let outcome = Outcome { begun, ended: eyes.now(), answer };
    if let Some(what) = promises::broken_by(&outage, &outcome) {
        eyes.broken(what);
    }
    eyes.seen().outcomes.push(outcome);
}

/// What happened until now since it was told, in one line.
fn tell(eyes: &Eyes) {
    let line = {
        let seen = eyes.seen();
        let since = eyes.now().saturating_sub(Duration::from_secs(1));
        let looks: Vec<_> = seen.looks.iter().filter(|look| look.at > since).collect();
        let asked = [0, 1].map(|which| looks.iter().filter_map(|look| look.asked.get(which)).sum::<u64>());
        let ends = seen.outcomes.iter().filter(|outcome| outcome.ended > since);
        let ends: Vec<_> = ends.map(|outcome| outcome.answer.end.letter()).collect();
        let took = seen.outcomes.iter().filter(|outcome| outcome.ended > since);
        let took: Duration = took.map(|outcome| outcome.ended - outcome.begun).sum();
        format!("asked {asked:?}, ended {} in {} ms", ends.into_iter().collect::<String>(), took.as_millis())
    };
    eyes.say(&line);
}

/// Whether the primary has everything again, or will not get it.
fn is_over(outage: &Outage, eyes: &Eyes) -> bool {
    let now = eyes.now();
    let shares = promises::shares(outage, &eyes.seen(), now);
    let is_back = shares.rchunks(BACK_FOR).next().is_some_and(|last| last.len() == BACK_FOR && last == [1.0; BACK_FOR]);
    now > outage.end() && is_back || now > outage.end() + LATEST
}
