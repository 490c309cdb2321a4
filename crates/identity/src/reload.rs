//! Settings that follow their files.
//!
//! The check rides on use: every handshake may find that the last look is [`CHECK_INTERVAL`] old, and one of them looks
//! again. So there is no task to start, to stop and to forget. Contents are compared and not modification times, which
//! copying tools preserve and which two renewals within a second share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use meridian_host::Files;
use meridian_types::Digest;
use tokio::time::Instant;

use crate::{Error, Pem, PemFiles};

/// How old a look at the files may be. Renewals are hours apart; a person who replaces a file and tries it should not
/// have to wait.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Settings of type `C`, rebuilt by `build` when the files changed.
pub(crate) struct Reloading<C> {
    current: ArcSwap<C>,
    build: fn(&Pem) -> Result<C, Error>,
    source: Option<Source>,
}

struct Source {
    files: Arc<dyn Files>,
    paths: PemFiles,
    since: Instant,
    next_check_ms: AtomicU64,
    /// What the last look found, usable or not: so the same fault is logged once.
    seen: Mutex<Digest>,
}

impl<C> Reloading<C> {
    pub(crate) fn fixed(pem: &Pem, build: fn(&Pem) -> Result<C, Error>) -> Result<Self, Error> {
        Ok(Self { current: ArcSwap::from_pointee(build(pem)?), build, source: None })
    }

    pub(crate) async fn following(
        files: Arc<dyn Files>,
        paths: PemFiles,
        build: fn(&Pem) -> Result<C, Error>,
    ) -> Result<Self, Error> {
        let pem = paths.read(&*files).await?;
        let current = ArcSwap::from_pointee(build(&pem)?);
        let source = Source {
            files,
            paths,
            since: Instant::now(),
            next_check_ms: AtomicU64::new(millis(CHECK_INTERVAL)),
            seen: Mutex::new(pem.digest()),
        };
        Ok(Self { current, build, source: Some(source) })
    }

    /// The settings to use now.
    pub(crate) async fn current(&self) -> Arc<C> {
        if let Some(source) = &self.source
            && source.is_due()
        {
            self.look(source).await;
        }
        self.current.load_full()
    }

    async fn look(&self, source: &Source) {
        let outcome = source.paths.read(&*source.files).await;
        let found = match &outcome {
            Ok(pem) => pem.digest(),
            Err(error) => Digest::of(error.to_string().as_bytes()),
        };
        if std::mem::replace(&mut *source.seen.lock().unwrap_or_else(PoisonError::into_inner), found) == found {
            return;
        }
        let certificate = source.paths.certificate.display();
        match outcome.and_then(|pem| (self.build)(&pem)) {
            Ok(settings) => {
                self.current.store(Arc::new(settings));
                tracing::info!(%certificate, "certificates changed; the new ones are used from now on");
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%certificate, %error, cause, "changed certificates are unusable; the old ones stay in use");
            }
        }
    }
}

impl Source {
    /// Whether this call is the one that has to look; true for one caller an interval.
    fn is_due(&self) -> bool {
        let now = millis(self.since.elapsed());
        let due = self.next_check_ms.load(Ordering::Relaxed);
        now >= due
            && self
                .next_check_ms
                .compare_exchange(due, now + millis(CHECK_INTERVAL), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
