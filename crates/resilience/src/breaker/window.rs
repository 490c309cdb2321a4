//! What happened lately, in bounded space: a ring of slices of time.

use std::time::Duration;

use tokio::time::Instant;

/// Slices of the window: a tenth of it is forgotten at a time.
const SLICES: usize = 10;

/// Successes and failures of the last while.
#[derive(Debug)]
pub(super) struct Window {
    slice: Duration,
    /// The newest first, each with the number of its slice since `start`.
    slices: [Slice; SLICES],
    start: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    number: u64,
    answered: u32,
    failed: u32,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let slice = (length / SLICES as u32).max(Duration::from_millis(1));
        Self { slice, slices: [Slice::default(); SLICES], start: None }
    }

    pub(super) fn add(&mut self, failed: bool, now: Instant) {
        let number = self.number(now);
        let place = usize::try_from(number).unwrap_or_default() % SLICES;
        let Some(slice) = self.slices.get_mut(place) else { return };
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        let count = if failed { &mut slice.failed } else { &mut slice.answered };
        *count = count.saturating_add(1);
    }

    /// Attempts, and those that failed.
    pub(super) fn counts(&mut self, now: Instant) -> (u32, u32) {
        let number = self.number(now);
        let recent = self.slices.iter().filter(|slice| slice.number + SLICES as u64 > number);
        recent.fold((0, 0), |(all, failed), slice| {
            (all.saturating_add(slice.answered).saturating_add(slice.failed), failed.saturating_add(slice.failed))
        })
    }

    pub(super) fn clear(&mut self) {
        self.slices = [Slice::default(); SLICES];
    }

    fn number(&mut self, now: Instant) -> u64 {
        let start = *self.start.get_or_insert(now);
        let passed = now.saturating_duration_since(start).as_millis() / self.slice.as_millis().max(1);
        u64::try_from(passed).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut window = Window::new(Duration::from_secs(10));
        let start = Instant::now();
        for second in 0..10 {
            window.add(second % 2 == 0, start + Duration::from_secs(second));
        }
        assert_eq!(window.counts(start + Duration::from_secs(9)), (10, 5));
        assert_eq!(window.counts(start + Duration::from_secs(12)), (7, 3));
        assert_eq!(window.counts(start + Duration::from_secs(60)), (0, 0));
        window.add(true, start + Duration::from_secs(60));
        assert_eq!(window.counts(start + Duration::from_secs(60)), (1, 1));
    }
}
