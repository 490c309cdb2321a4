//! A budget of bytes that everything of size shares: the bodies of requests, and answers that are sent whole.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;

/// The budget; cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Counted where it is shown.
    held: Gauge,
    max: i64,
}

/// Part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    held: Gauge,
    bytes: i64,
}

impl Budget {
    /// A budget of `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { held: Gauge::default(), max: signed(max) }
    }

    /// Whether there is room for `bytes` now; takes nothing.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.held.get().saturating_add(signed(bytes)) <= self.max
    }

    /// A share that holds nothing yet.
    #[must_use]
    pub fn nothing(&self) -> Share {
        Share { held: self.held.clone(), bytes: 0 }
    }

    /// Grows `share` to hold `bytes`; `false` if there is not enough left. It does not shrink.
    pub fn grow(&self, share: &mut Share, bytes: usize) -> bool {
        let more = signed(bytes).saturating_sub(share.bytes).max(0);
        let taken = |held: i64| held.checked_add(more).filter(|held| more == 0 || *held <= self.max);
        let grown = self.held.inner().fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).is_ok();
        if grown {
            share.bytes += more;
        }
        grown
    }

    /// The part that is taken, 0 to 100.
    #[must_use]
    pub fn percent(&self) -> i64 {
        self.held.get().saturating_mul(100) / self.max.max(1)
    }

    /// What is taken, in bytes, for the registry.
    #[must_use]
    pub fn held(&self) -> &Gauge {
        &self.held
    }
}

impl Share {
    /// `bytes`, which give the share back with the last of them, wherever that is: memory counts until it is free, and not
    /// until it is out of sight.
    #[must_use]
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.dec_by(self.bytes);
    }
}

struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_missing_until_it_is_dropped() {
        let budget = Budget::new(100);
        let (mut share, mut last) = (budget.nothing(), budget.nothing());
        assert!(budget.grow(&mut share, 1) && budget.grow(&mut share, 90));
        assert!(budget.has_room(10) && !budget.has_room(11) && !budget.has_room(usize::MAX));
        assert!(budget.grow(&mut last, 10));
        assert_eq!((budget.percent(), budget.held().get()), (100, 100));
        let mut more = budget.nothing();
        assert!(!budget.grow(&mut more, 1) && !budget.grow(&mut more, usize::MAX));
        assert!(!budget.grow(&mut share, 91) && budget.grow(&mut share, 5));
        drop(last);
        assert!(budget.grow(&mut share, 100));
        drop(share);
        assert_eq!(budget.held().get(), 0);
    }

    #[test]
    fn bytes_hold_their_share_until_the_last_of_them_is_gone() {
        let budget = Budget::new(100);
        let mut share = budget.nothing();
        assert!(budget.grow(&mut share, 60));
        let bytes = share.hold(Bytes::from_static(b"hello"));
        let piece = bytes.slice(1..2);
        drop(bytes);
        assert_eq!((&piece[..], budget.percent()), (&b"e"[..], 60));
        drop(piece);
        assert_eq!(budget.percent(), 0);
    }
}
