//! Follows the file of the geo database: a new one is checked, compiled and swapped in while queries go on, and one that
//! cannot be used changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use meridian_host::{Files, Stamp};
use meridian_lifecycle::Shutdown;

use crate::apart::apart;
use crate::geo::GeoDatabase;
use crate::service::Handle;

/// How often the file is looked at: databases come out once or twice a week.
const INTERVAL: Duration = Duration::from_secs(10);

/// Looks at the file until the drain begins. `loaded`: the file's stamp before the database in use was read.
pub(crate) async fn follow(
    path: PathBuf,
    files: Arc<dyn Files>,
    loaded: Option<Stamp>,
    handle: &Handle,
    shutdown: &Shutdown,
) {
    let mut settled = loaded;
    let mut last = loaded;
    loop {
        tokio::select! {
            biased;
            () = shutdown.draining() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let seen = files.stamp(&path).await.ok();
        // Two looks alike: nobody is writing it any more. One that is gone is about to be replaced, or was lost, and
        // the database that is in memory is better than none.
        if seen.is_some() && seen == last && seen != settled {
            settled = seen;
            replace(&path, &*files, handle).await;
        }
        last = seen;
    }
}

async fn replace(path: &Path, files: &dyn Files, handle: &Handle) {
    match GeoDatabase::load(files, path).await {
        Ok(database) => {
            tracing::info!(path = %path.display(), ?database, "geo database replaced");
            let to = handle.clone();
            if let Err(error) = apart("geo-compile", move || to.set_geo(Some(Arc::new(database)))).await {
                tracing::error!(%error, "cannot compile the geo database");
            }
        }
        Err(error) => {
            handle.geo_refused();
            let error = &error as &dyn std::error::Error;
            tracing::warn!(path = %path.display(), error, "the new geo database is not used, the old one is");
        }
    }
}
