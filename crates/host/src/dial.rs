//! Connects to the first of several addresses that answers, in the way of RFC 8305 ("happy eyeballs"): one that stays silent
//! costs a quarter of a second and not all of the caller's time.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::sleep;

/// How long the newest attempt may be silent before the next one is made beside it: what RFC 8305, section 5, recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses that are tried at most. If all are silent, the last one's turn comes after 1.75 s: within the 2 s that
/// connecting to a provider may take if nothing else is written.
const MAX_ADDRESSES: usize = 8;

/// The first connection that `connect` makes to one of `addresses`; attempts that come too late are dropped. An attempt that
/// fails makes room for the next one at once.
///
/// # Errors
/// The last attempt's, when all have failed; `AddrNotAvailable` when there is no address.
pub(crate) async fn first_of<T, F>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = in_turn(addresses);
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address to connect to");
    loop {
        match waiting.pop_front() {
            Some(address) => attempts.push(connect(address)),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        tokio::select! {
            biased;
            Some(outcome) = attempts.next() => match outcome {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            },
            () = sleep(ATTEMPT_DELAY), if !waiting.is_empty() => {}
        }
    }
}

/// The resolver's order, with the two families taking turns (RFC 8305, section 4): where one of them leads nowhere, every
/// second attempt still does.
fn in_turn(addresses: impl IntoIterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let mut addresses = addresses.into_iter().peekable();
    let Some(first) = addresses.peek().copied() else { return VecDeque::new() };
    let (same, other): (Vec<_>, Vec<_>) = addresses.partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let pairs = std::iter::from_fn(|| match (same.next(), other.next()) {
        (None, None) => None,
        (one, another) => Some(one.into_iter().chain(another)),
    });
    pairs.flatten().take(MAX_ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    /// `4a` is the first IPv4 address, `6b` the second IPv6 one.
    fn address(name: &str) -> SocketAddr {
        let (family, number) = name.split_at(1);
        let number = number.as_bytes()[0];
        match family {
            "4" => SocketAddr::from(([127, 0, 0, number], 443)),
            _ => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, u16::from(number)], 443)),
        }
    }

    /// Counts what is under way.
    struct Open<'a>(&'a Cell<usize>);

    impl<'a> Open<'a> {
        fn new(count: &'a Cell<usize>) -> Self {
            count.set(count.get() + 1);
            Self(count)
        }
    }

    impl Drop for Open<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    /// `addresses`: each with what it does: `silent`, or `ok` or `no` after so many milliseconds: `4a ok 30`. `expected`: when
    /// each was tried, who was connected to, and when.
    async fn check(addresses: &str, expected: &str) {
        let given: Vec<Vec<&str>> = addresses.split(", ").map(|entry| entry.split(' ').collect()).collect();
        let start = Instant::now();
        let (tried, open) = (RefCell::new(Vec::new()), Cell::new(0));
        let connect = async |to: SocketAddr| {
            let does = given.iter().find(|does| address(does[0]) == to).unwrap();
            tried.borrow_mut().push(format!("{}@{}", does[0], start.elapsed().as_millis()));
            let _open = Open::new(&open);
            if does[1] == "silent" {
                return pending().await;
            }
            sleep(Duration::from_millis(does[2].parse().unwrap())).await;
            if does[1] == "ok" { Ok(does[0]) } else { Err(io::Error::other(does[0].to_owned())) }
        };
        let outcome = first_of(given.iter().map(|does| address(does[0])), connect).await;
        let outcome = match outcome {
            Ok(name) => format!("{name}@{}", start.elapsed().as_millis()),
            Err(error) => format!("failed {error}@{}", start.elapsed().as_millis()),
        };
        assert_eq!(format!("{} -> {outcome}", tried.borrow().join(" ")), expected, "{addresses}");
        assert_eq!(open.get(), 0, "{addresses}: attempts that lost are dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_answers_wins_and_one_that_is_silent_costs_a_quarter_of_a_second() {
        check("4a ok 30", "4a@0 -> 4a@30").await;
        check("6a ok 30, 4a ok 1", "6a@0 -> 6a@30").await;
        check("6a silent, 4a ok 30", "6a@0 4a@250 -> 4a@280").await;
        // Every address of one family leads nowhere.
        check("6a silent, 6b silent, 6c silent, 4a ok 30", "6a@0 4a@250 -> 4a@280").await;
        check("4a silent, 4b silent, 4c ok 30", "4a@0 4b@250 4c@500 -> 4c@530").await;
        // One that is slow is not given up for another that was begun later.
        check("4a ok 300, 4b ok 100", "4a@0 4b@250 -> 4a@300").await;
        check("4a ok 400, 4b ok 100", "4a@0 4b@250 -> 4b@350").await;
        // Refused at once: the next need not wait.
        check("6a no 0, 4a ok 30", "6a@0 4a@0 -> 4a@30").await;
        check("6a silent, 4a no 10, 6b ok 20", "6a@0 4a@250 6b@260 -> 6b@280").await;
        check("6a no 5, 4a no 7", "6a@0 4a@5 -> failed 4a@12").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_list_is_cut_and_both_families_are_in_what_is_left() {
        let many: String = ('a'..='z').map(|number| format!("6{number} no 0, ")).collect();
        let expected = "6a@0 4a@0 6b@0 4b@0 6c@0 6d@0 6e@0 6f@0 -> failed 6f@0";
        check(&format!("{many}4a no 0, 4b no 0"), expected).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_addresses_is_an_error() {
        let error = first_of([], async |_: SocketAddr| Ok(())).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
