//! The TCP listener (RFC 7766): several queries in one connection, answered in order, each read under a deadline.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use meridian_host::{Connection, Listen};
use meridian_lifecycle::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::encode::Transport;
use crate::limit::network;
use crate::service::Shared;

/// How long a connection may take for its next message, from silence to the last byte; what the keepalive option
/// promises (RFC 7828). Long enough for a resolver's next question, short enough to outlast idlers.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to accept an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections at a time. TCP is for the few answers that UDP truncates; with this many, each held for
/// the idle timeout, an authority still gives 50 new clients a second a place.
pub const MAX_CONNECTIONS: usize = 512;

/// Of these, what one network may hold (RFC 7766 section 6.2.2): an eighth, so that whoever holds all of its own leaves
/// places for others.
pub const MAX_CONNECTIONS_OF_NETWORK: usize = 64;

/// Accepts until the drain begins, then lets every connection finish the message in hand.
pub(crate) async fn serve(mut listener: Box<dyn Listen>, shared: &Shared, shutdown: &Shutdown) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let mut held: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let result = loop {
        tokio::select! {
            biased;
            () = shutdown.draining() => break Ok(()),
            Some(ended) = connections.join_next(), if !connections.is_empty() => if let Ok(network) = ended {
                leave(&mut held, network);
            },
            accepted = listener.accept() => {
                let connection = match accepted {
                    Ok(connection) => connection,
                    Err(error) => break Err(error),
                };
                let network = network(connection.peer.ip());
                let of_network = held.get(&network).copied().unwrap_or_default();
                if connections.len() >= MAX_CONNECTIONS || of_network >= MAX_CONNECTIONS_OF_NETWORK {
                    shared.metrics.tcp_refused.inc();
                    continue;
                }
                held.insert(network, of_network + 1);
                let (shared, shutdown) = (shared.clone(), shutdown.clone());
                connections.spawn(async move {
                    converse(connection, shared, shutdown).await;
                    network
                });
            }
        }
    };
    tokio::select! {
        () = shutdown.forced() => {}
        () = async { while connections.join_next().await.is_some() {} } => {}
    }
    result
}

/// One connection less; a network without any is forgotten.
fn leave(held: &mut BTreeMap<IpAddr, usize>, network: IpAddr) {
    if let Entry::Occupied(mut entry) = held.entry(network) {
        match entry.get().saturating_sub(1) {
            0 => drop(entry.remove()),
            left => *entry.get_mut() = left,
        }
    }
}

async fn converse(mut connection: Connection, shared: Shared, shutdown: Shutdown) {
    shared.metrics.tcp_connections.inc();
    let peer = connection.peer;
    if let Err(error) = answer_all(&mut connection, &shared, &shutdown).await {
        tracing::debug!(%error, client = %peer, "connection ended");
    }
    shared.metrics.tcp_connections.dec();
}

async fn answer_all(connection: &mut Connection, shared: &Shared, shutdown: &Shutdown) -> io::Result<()> {
    let (mut query, mut answer, mut framed) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let read = timeout(IDLE_TIMEOUT, read_message(&mut connection.io, &mut query));
        let read = tokio::select! {
            biased;
            () = shutdown.draining() => return Ok(()),
            read = read => read,
        };
        match read {
            // Idle: the connection has served its purpose.
            Err(_) => return Ok(()),
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        }
        let is_answered = {
            let snapshot = shared.snapshot.load();
            shared.guard.reply(&snapshot, &query, connection.peer.ip(), Transport::Tcp, &mut answer)
        };
        if !is_answered {
            // Whoever sends responses or half headers here does not speak DNS.
            return Ok(());
        }
        framed.clear();
        framed.extend_from_slice(&u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes());
        framed.extend_from_slice(&answer);
        timeout(WRITE_TIMEOUT, connection.io.write_all(&framed)).await??;
    }
}

/// The next message behind its length (RFC 1035 section 4.2.2); `false` at the stream's end.
async fn read_message(io: &mut (impl AsyncReadExt + Unpin), message: &mut Vec<u8>) -> io::Result<bool> {
    let length = match io.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    };
    message.resize(length.into(), 0);
    io.read_exact(message).await?;
    Ok(true)
}
