//! The stream of events to one operator.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use meridian_proto::admin::v1::{self as admin, watch_events_response::Message};
use tonic::Status;

use crate::events::{Cursor, Next, Place};
use crate::shared::Shared;

/// A cursor is sent at least so often, so that one which is kept stays young.
const BOOKMARK: Duration = Duration::from_secs(10);

const PUT_BACK: &str = "the cursor is of a later state than the store: that was put back, and not by `store restore`";

/// From the request's cursor on, or from now. Ends when the replica drains.
pub(super) async fn watch(
    shared: Arc<Shared>,
    cursor: &str,
) -> Result<impl Stream<Item = Result<admin::WatchEventsResponse, Status>> + use<>, Status> {
    let here = here(&shared)?;
    let mut first = None;
    let mut again = |why: &str| {
        first = Some(response(here, Some(Message::ResyncRequired(why.to_owned()))));
        here.place
    };
    let place = match cursor {
        // The cursor comes first: a client that loses this replica before anything happened must miss nothing.
        "" => {
            first = Some(response(here, None));
            here.place
        }
        text => {
            let wanted: Cursor = text.parse().map_err(|error| Status::invalid_argument(format!("cursor: {error}")))?;
            if (wanted.cluster_id, wanted.epoch) != (here.cluster_id, here.epoch) {
                again("the store was restored, or is another one, since the cursor was given")
            } else if wanted.place > here.place && is_ahead_of_the_store(&shared, wanted.place).await {
                again(PUT_BACK)
            } else {
                wanted.place
            }
        }
    };
    let state = Some((shared, place, first));
    Ok(futures::stream::unfold(state, |state| async {
        let (shared, mut place, first) = state?;
        let item = match first {
            Some(first) => Ok(first),
            None => next(&shared, &mut place).await,
        };
        let state = item.is_ok().then_some((shared, place, None));
        Some((item, state))
    }))
}

/// Another replica may be ahead of this one, but none is ahead of the store.
async fn is_ahead_of_the_store(shared: &Shared, place: Place) -> bool {
    // While the store does not answer, the cursor is given the benefit of the doubt, as the replica's own view is.
    let listed = shared.store.list_keys(&shared.layout.epoch()).await;
    listed.is_ok_and(|listing| listing.revision.0 < place.revision)
}

async fn next(shared: &Shared, place: &mut Place) -> Result<admin::WatchEventsResponse, Status> {
    let bookmark = tokio::time::Instant::now() + BOOKMARK;
    let mut moved = shared.mirror.events.subscribe();
    loop {
        let message = match shared.mirror.events.after(*place) {
            Next::Event(at, event) => Some((at, Message::Event(event))),
            Next::Gap(newest) => {
                let text = "this replica does not know every event since the cursor".to_owned();
                Some((newest, Message::ResyncRequired(text)))
            }
            Next::Nothing => None,
        };
        if let Some((at, message)) = message {
            *place = at;
            return Ok(response(Cursor { place: at, ..here(shared)? }, Some(message)));
        }
        tokio::select! {
            _ = moved.changed() => {}
            () = tokio::time::sleep_until(bookmark) => {
                let newest = shared.mirror.events.newest();
                if *place > newest && is_ahead_of_the_store(shared, *place).await {
                    *place = newest;
                    return Ok(response(here(shared)?, Some(Message::ResyncRequired(PUT_BACK.to_owned()))));
                }
                // Nothing happened up to here; a replica that lags behind the cursor must not turn it back.
                *place = (*place).max(newest);
                return Ok(response(Cursor { place: *place, ..here(shared)? }, None));
            }
            () = shared.shutdown.draining() => return Err(Status::unavailable("the replica is stopping")),
        }
    }
}

/// The newest place.
fn here(shared: &Shared) -> Result<Cursor, Status> {
    let view = shared.mirror.view();
    if !view.is_loaded() {
        return Err(Status::unavailable("the store was not read yet"));
    }
    Ok(Cursor { cluster_id: view.cluster_id, epoch: view.epoch, place: shared.mirror.events.newest() })
}

fn response(cursor: Cursor, message: Option<Message>) -> admin::WatchEventsResponse {
    admin::WatchEventsResponse { cursor: cursor.to_string(), message }
}
