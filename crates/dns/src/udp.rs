//! The UDP loops: a task a socket, buffers that are used again, nothing spawned for a query.

use std::pin::pin;
use std::time::Duration;

use meridian_host::{Batch, Datagram};
use meridian_lifecycle::Shutdown;

use crate::encode::{MAX_UDP_SIZE, Transport};
use crate::service::Shared;

/// Larger than any query that is meant seriously: name, type and a few options. What is cut off fails to parse and
/// is answered FORMERR.
const MAX_QUERY: usize = 4096;

/// Queries taken from the socket at once. Under load a system call serves so many; more would only let the first ones
/// wait, and other tasks of the thread get their turn after each batch.
const BATCH: usize = 32;

/// How long the loop rests after an error of the socket, so that one that stays does not spin. ICMP errors of earlier
/// answers show up here too, so it is short.
const ERROR_REST: Duration = Duration::from_millis(1);

/// Answers until the drain begins.
pub(crate) async fn serve(socket: Box<dyn Datagram>, shared: Shared, shutdown: Shutdown) {
    let mut queries = Batch::new(BATCH, MAX_QUERY);
    let mut answers = Batch::new(BATCH, MAX_UDP_SIZE.into());
    let mut answer = Vec::with_capacity(MAX_UDP_SIZE.into());
    let mut draining = pin!(shutdown.draining());
    loop {
        let received = tokio::select! {
            biased;
            () = &mut draining => return,
            received = socket.recv_batch(&mut queries) => received,
        };
        if let Err(error) = received {
            tracing::debug!(%error, "cannot receive");
            tokio::time::sleep(ERROR_REST).await;
            continue;
        }
        answers.clear();
        {
            let snapshot = shared.snapshot.load();
            for (query, source) in queries.iter() {
                if shared.guard.reply(&snapshot, query, source.ip(), Transport::Udp, &mut answer) {
                    answers.push(&answer, source);
                }
            }
        }
        if !answers.is_empty()
            && let Err(error) = socket.send_batch(&answers).await
        {
            // The clients ask again.
            tracing::debug!(%error, "cannot send");
        }
        // A socket that never runs dry must not keep the thread. One that has, waits on its own.
        if queries.is_full() {
            tokio::task::yield_now().await;
        }
    }
}
