//! The UDP loop: one task, two buffers, nothing spawned for a query.

use std::time::Duration;

use meridian_host::Datagram;
use meridian_lifecycle::Shutdown;

use crate::encode::Transport;
use crate::service::Shared;

/// Larger than any query that is meant seriously: name, type and a few options. What is cut off fails to parse and
/// is answered FORMERR.
const MAX_QUERY: usize = 4096;

/// How long the loop rests after an error of the socket, so that one that stays does not spin. ICMP errors of earlier
/// answers show up here too, so it is short.
const ERROR_REST: Duration = Duration::from_millis(1);

/// Queries answered before other tasks of the thread get their turn, should the socket never run dry.
const BURST: u32 = 64;

/// Answers until the drain begins.
pub(crate) async fn serve(socket: Box<dyn Datagram>, shared: &Shared, shutdown: &Shutdown) {
    let mut query = vec![0; MAX_QUERY];
    let mut answer = Vec::with_capacity(crate::encode::MAX_UDP_SIZE.into());
    let mut burst = 0;
    loop {
        let received = tokio::select! {
            biased;
            () = shutdown.draining() => return,
            received = socket.recv_from(&mut query) => received,
        };
        let (length, source) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "cannot receive");
                tokio::time::sleep(ERROR_REST).await;
                continue;
            }
        };
        let is_answered = {
            let snapshot = shared.snapshot.load();
            let packet = query.get(..length).unwrap_or_default();
            shared.guard.reply(&snapshot, packet, source.ip(), Transport::Udp, &mut answer)
        };
        if is_answered && let Err(error) = socket.send_to(&answer, source).await {
            // The client asks again; a full send buffer must not hold up the others.
            tracing::debug!(%error, client = %source, "cannot send");
        }
        burst += 1;
        if burst >= BURST {
            burst = 0;
            tokio::task::yield_now().await;
        }
    }
}
