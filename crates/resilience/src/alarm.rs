//! One timer for deadlines that follow each other.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{Expired, Stage};

/// Bounds one step after the other with the same timer. Each event of a stream has a deadline that hardly any misses, and
/// setting a timer anew for each costs more than looking once whether the time has come when an old one goes off.
#[derive(Debug, Default)]
pub struct Alarm {
    /// Goes off at the present deadline or before it.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Runs `work` until its deadline, as [`within`](crate::within) does; dropping it then cancels it.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub async fn within<T>(
        &mut self,
        (at, stage): (Instant, Stage),
        work: impl Future<Output = T>,
    ) -> Result<T, Expired> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.reached(at) => Err(Expired { stage }),
        }
    }

    async fn reached(&mut self, at: Instant) {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            timer.as_mut().await;
            if timer.deadline() >= at {
                return;
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LATE: Result<(), Expired> = Err(Expired { stage: Stage::Idle });

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_kept_wherever_the_one_before_stood() {
        let mut alarm = Alarm::default();
        for (limit_ms, work_ms) in [(50, 60), (100, 30), (100, 99), (20, 30), (500, 400), (10, 9), (10, 11), (0, 1)] {
            let (start, limit, work) =
                (Instant::now(), Duration::from_millis(limit_ms), Duration::from_millis(work_ms));
            let done = alarm.within((start + limit, Stage::Idle), tokio::time::sleep(work)).await;
            assert_eq!(done, if work < limit { Ok(()) } else { LATE }, "{limit:?} {work:?}");
            assert_eq!(start.elapsed(), limit.min(work), "{limit:?} {work:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_at_once_is_never_late() {
        let mut alarm = Alarm::default();
        tokio::time::advance(Duration::from_secs(1)).await;
        let passed = Instant::now() - Duration::from_secs(1);
        assert_eq!(alarm.within((passed, Stage::Idle), async { 1 }).await, Ok(1));
        assert_eq!(alarm.within((passed, Stage::Idle), std::future::pending()).await, LATE);
    }
}
