//! The start: what the files hold is applied before any replica is asked.

use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::held::{Held, HeldCommit};
use crate::last_known_good::Saved;
use crate::{Options, Published, Source};

/// Applies the newest generation that can be, and gives accounts, plan and switches of the newest file to the node:
/// these do not go back when a commit does, or a revoked key would open the door again.
pub(crate) async fn boot(options: &Options, generations: Vec<Saved>, breaker: &mut Breaker) -> Held {
    let mut held = match generations.first() {
        Some(newest) => Held { commit: None, ..newest.held.clone() },
        None => Held::default(),
    };
    // Before anything that makes requests served: none of them must be the one call too many.
    if let Some(switches) = &held.switches {
        options.serving.switches(&switches.left(options.host.clock.now_unix_ms()));
    }
    if let Some(accounts) = &held.accounts {
        options.serving.accounts(accounts.accounts.clone());
    }
    held.commit = boot_commit(options, generations, breaker).await;
    if let Some(plan) = &held.plan {
        options.serving.plan(plan.clone());
    }
    if let Some(peers) = &held.peers {
        options.serving.peers(peers.clone());
    }
    held
}

async fn boot_commit(options: &Options, generations: Vec<Saved>, breaker: &mut Breaker) -> Option<HeldCommit> {
    let now = options.host.clock.now_unix_ms();
    let mut commits: Vec<_> =
        generations.into_iter().filter_map(|saved| Some((saved.held.commit?, saved.saved_at_unix_ms))).collect();
    // With nothing else to serve, a commit that may kill is better than none that serves.
    let has_other = commits.iter().any(|(commit, _)| !breaker.condemns(commit.id, commit.digest));
    commits.retain(|(commit, _)| {
        let keep = !has_other || !breaker.condemns(commit.id, commit.digest);
        if !keep {
            tracing::error!(commit = %commit.id, "the process died twice soon after applying it; starting from another");
        }
        keep
    });
    for (commit, saved_at) in commits {
        let age = Duration::from_millis(u64::try_from(now.saturating_sub(saved_at)).unwrap_or(0));
        if apply(options, &commit, age, breaker).await {
            return Some(commit);
        }
    }
    None
}

async fn apply(options: &Options, commit: &HeldCommit, age: Duration, breaker: &mut Breaker) -> bool {
    let mistakes = match commit.content.configuration() {
        Ok(configuration) => {
            let published = Published {
                commit: commit.id,
                digest: commit.digest,
                content: commit.content.clone(),
                configuration: Arc::new(configuration),
                source: Source::File { age },
            };
            breaker.applying(commit.id, commit.digest).await;
            match options.serving.apply(Arc::new(published)) {
                Ok(()) => {
                    tracing::info!(commit = %commit.id, age_s = age.as_secs(), "serving from the last-known-good file");
                    return true;
                }
                Err(mistakes) => mistakes,
            }
        }
        Err(mistakes) => mistakes,
    };
    let first = mistakes.first().map(ToString::to_string);
    tracing::error!(commit = %commit.id, mistakes = mistakes.len(), first, "a kept commit cannot be applied");
    false
}
