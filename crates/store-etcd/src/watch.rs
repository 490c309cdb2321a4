//! Watches: one connection each, grouped by revision, and ended when the server goes silent.
//!
//! A watch in a lost quorum, or on a stopped server, looks like a quiet one. Three things tell them apart:
//! `require_leader` (the server ends it), HTTP/2 pings (the machine is gone), and progress requests (the server
//! accepts bytes but does not work).

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::{Client, EventType, KeyValue, WatchOptions, WatchResponse, WatchStream};
use futures::stream;
use meridian_store::{Batch, Error, Event, Result, Revision, Watch};

use crate::endpoints::{Endpoints, MAX_MESSAGE_BYTES};
use crate::range::{bounds, entry, text};
use crate::revision;

/// After so long without a message the server is asked for a sign of life.
const ASK_AFTER: Duration = Duration::from_secs(3);

/// How many such questions in a row may stay unanswered: a silent server is given up after three times
/// [`ASK_AFTER`], about 9 s; a pause of a leader election (1.7 s) goes unnoticed.
const UNANSWERED: u32 = 2;

/// One open watch.
struct Watching {
    stream: WatchStream,
    /// The last revision that was delivered: what is not newer is dropped.
    last: Revision,
    /// Received but not yet taken.
    ready: VecDeque<Batch>,
    /// Why there is nothing after what is ready.
    ended: Option<Error>,
    unanswered: u32,
}

/// Opens a watch at the first member that confirms it.
pub(crate) async fn open(endpoints: &Endpoints, prefix: &str, from: Revision) -> Result<Watch> {
    let (start, end) = bounds(prefix);
    let options = WatchOptions::new().with_range(end).with_start_revision(from.0.cast_signed());
    let ask = |client: Client| confirmed(client, start.clone(), options.clone());
    let (stream, first) = endpoints.open(ask).await?;
    let last = Revision(from.0.saturating_sub(1));
    let mut watching = Watching { stream, last, ready: VecDeque::new(), ended: None, unanswered: 0 };
    watching.take(&first);
    Ok(Watch::new(stream::unfold(watching, |mut watching| async {
        let item = watching.next().await;
        Some((item, watching))
    })))
}

impl Watching {
    async fn next(&mut self) -> Result<Batch> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(batch);
            }
            if let Some(error) = self.ended.take() {
                return Err(error);
            }
            match tokio::time::timeout(ASK_AFTER, self.stream.message()).await {
                Ok(Ok(Some(message))) => {
                    self.unanswered = 0;
                    self.take(&message);
                }
                Ok(Ok(None)) => return Err(Error::watch_lost("etcd ended the stream")),
                Ok(Err(error)) => return Err(lost("the connection to etcd broke", error)),
                Err(_) if self.unanswered >= UNANSWERED => {
                    return Err(Error::watch_lost("etcd is connected but gives no sign of life"));
                }
                Err(_) => {
                    self.unanswered += 1;
                    let asked = self.stream.request_progress().await;
                    asked.map_err(|e| lost("the connection to etcd broke", e))?;
                }
            }
        }
    }

    /// Takes the events of one message, which holds whole revisions (we do not ask for fragments), and its news about
    /// the watch itself.
    fn take(&mut self, message: &WatchResponse) {
        let seen = self.last;
        for event in message.events() {
            let Some(found) = event.kv() else { continue };
            let at = revision(found.mod_revision());
            // Some versions of etcd repeat events, or go back, when a watch moves between their queues.
            if at <= seen || at < self.last {
                continue;
            }
            self.last = at;
            match convert(event.event_type(), found) {
                Ok(event) => match self.ready.back_mut() {
                    Some(batch) if batch.revision == at => batch.events.push(event),
                    _ => self.ready.push_back(Batch { revision: at, events: vec![event] }),
                },
                Err(error) => {
                    self.ended = Some(error);
                    return;
                }
            }
        }
        // The message of a cancelled watch has no usable header and no reason when history is gone, only this number.
        if message.compact_revision() > 0 {
            self.ended = Some(Error::Compacted { at: revision(message.compact_revision()) });
        } else if message.canceled() {
            self.ended = Some(Error::watch_lost(format!("etcd cancelled it: {}", message.cancel_reason())));
        }
    }
}

/// Asks for the watch and waits for the word that it exists, which is always the first message.
async fn confirmed(
    client: Client,
    start: Vec<u8>,
    options: WatchOptions,
) -> Result<(WatchStream, WatchResponse), etcd_client::Error> {
    let mut watches = client.watch_client().max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut stream = watches.watch(start, Some(options)).await?;
    match stream.message().await? {
        Some(first) if first.created() => Ok((stream, first)),
        Some(first) if first.canceled() => Err(etcd_client::Error::WatchError(first.cancel_reason().to_owned())),
        _ => Err(etcd_client::Error::WatchError("no confirmation of the watch".to_owned())),
    }
}

fn convert(kind: EventType, found: &KeyValue) -> Result<Event> {
    Ok(match kind {
        EventType::Put => Event::Put(entry(found.clone())?),
        EventType::Delete => {
            Event::Delete { key: text(found.key().to_vec())?, revision: revision(found.mod_revision()) }
        }
    })
}

fn lost(reason: &str, error: etcd_client::Error) -> Error {
    Error::WatchLost { reason: reason.to_owned(), source: Some(Box::new(error)) }
}
