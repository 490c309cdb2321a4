//! The TCP listener (RFC 7766): several queries in one connection, answered in order, each read under a deadline.

use std::io;
use std::time::Duration;

use meridian_host::{Connection, Listen};
use meridian_lifecycle::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::encode::Transport;
use crate::service::Shared;

/// How long a connection may take for its next message, from silence to the last byte; what the keepalive option
/// promises (RFC 7828). Long enough for a resolver's next question, short enough to outlast idlers.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to accept an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections at a time. TCP is for the few answers that UDP truncates; with this many, each held for
/// the idle timeout, an authority still gives 50 new clients a second a place.
pub const MAX_CONNECTIONS: usize = 512;

/// Accepts until the drain begins, then lets every connection finish the message in hand.
pub(crate) async fn serve(mut listener: Box<dyn Listen>, shared: &Shared, shutdown: &Shutdown) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let result = loop {
        tokio::select! {
            biased;
            () = shutdown.draining() => break Ok(()),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= MAX_CONNECTIONS => drop(shared.metrics.tcp_refused.inc()),
                Ok(connection) => drop(connections.spawn(converse(connection, shared.clone(), shutdown.clone()))),
                Err(error) => break Err(error),
            },
        }
    };
    tokio::select! {
        () = shutdown.forced() => {}
        () = async { while connections.join_next().await.is_some() {} } => {}
    }
    result
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
