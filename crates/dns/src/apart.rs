//! Long computations on a thread of their own: queries go on meanwhile.

use std::io;

use tokio::sync::oneshot;

/// What `work` returns. An error if there is no thread for it, or if it panicked.
pub(crate) async fn apart<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || drop(done.send(work())))?;
    result.await.map_err(io::Error::other)
}
