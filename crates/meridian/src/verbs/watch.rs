//! `watch`: what happens, as it happens, from whichever replica lives.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use meridian_proto::admin::v1::watch_events_response::Message;
use meridian_proto::admin::v1::{Event, WatchEventsRequest, WatchEventsResponse};
use tokio::time::Instant;

use crate::cli::{AdminArgs, OutputFormat};
use crate::connection::Connection;
use crate::failure::Usage;
use crate::format::date;
use crate::output;

/// Without any replica for this long the watch ends: somebody should know that nothing is being watched.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Between two rounds over all replicas.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Go on from this cursor, which `-o json` prints with every message, and a watch that had to end in its last words;
    /// default: from now on.
    #[arg(long, default_value = "")]
    cursor: String,
    /// `table` (lines for people) or `json` (one message a line, with its cursor).
    #[arg(short = 'o', long, value_enum, default_value = "table")]
    output: OutputFormat,
}

pub(crate) async fn watch(admin: &AdminArgs, args: WatchArgs) -> anyhow::Result<()> {
    if args.output == OutputFormat::Yaml {
        return Err(Usage("events are shown as table or json".to_owned()).into());
    }
    let mut watch = Watch { cursor: args.cursor, json: args.output == OutputFormat::Json };
    let mut lost_at = Instant::now();
    let mut is_first = true;
    loop {
        let why = match Connection::open(admin).await {
            Ok(connection) => match watch.follow(&connection, &mut lost_at).await? {
                Some(why) => why,
                None => return Ok(()),
            },
            Err(error) if is_first => return Err(error),
            Err(error) => error,
        };
        is_first = false;
        if lost_at.elapsed() > GIVE_UP {
            let cursor = &watch.cursor;
            return Err(why).with_context(|| format!("no replica can be watched; go on with --cursor {cursor}"));
        }
        output::complain(&format!("watch interrupted ({why:#}); going on from {}", watch.cursor));
        tokio::time::sleep(PAUSE).await;
    }
}

struct Watch {
    cursor: String,
    json: bool,
}

impl Watch {
    /// Prints until the replica is lost, and says why it was; `None`: nobody reads any more.
    async fn follow(
        &mut self,
        connection: &Connection,
        lost_at: &mut Instant,
    ) -> anyhow::Result<Option<anyhow::Error>> {
        let request = WatchEventsRequest { cursor: self.cursor.clone() };
        let mut client = connection.client.clone();
        let mut events = match client.watch_events(request).await {
            Ok(events) => events.into_inner(),
            Err(status) if crate::connection::may_be_lost(&status) => return Ok(Some(connection.refused(&status))),
            Err(status) => return Err(connection.refused(&status)),
        };
        loop {
            match events.message().await {
                Ok(Some(response)) => {
                    *lost_at = Instant::now();
                    self.cursor.clone_from(&response.cursor);
                    let text = if self.json { json(&response)? } else { line(&response) };
                    if output::print_next(&text)?.is_break() {
                        return Ok(None);
                    }
                }
                Ok(None) => return Ok(Some(anyhow::anyhow!("the replica ended the stream"))),
                Err(status) => return Ok(Some(connection.refused(&status))),
            }
        }
    }
}

fn json(response: &WatchEventsResponse) -> anyhow::Result<String> {
    let text = serde_json::to_string(response).context("write JSON")?;
    Ok(format!("{text}\n"))
}

/// Nothing for a message that only carries a cursor.
fn line(response: &WatchEventsResponse) -> String {
    match &response.message {
        Some(Message::Event(event)) => {
            let Event { subject, at_unix_ms, text, .. } = event;
            let kind = event.kind().as_str_name().to_lowercase();
            format!("{}  {kind:<10}  {subject}  {text}\n", date(*at_unix_ms))
        }
        Some(Message::ResyncRequired(why)) => format!("-- events are missing here: {why}; look at `fleet`\n"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use meridian_proto::admin::v1::event::Kind;

    use super::*;

    #[test]
    fn an_event_is_a_line_and_a_gap_is_told() {
        let event = Event {
            kind: Kind::Override.into(),
            subject: "eu-west".to_owned(),
            at_unix_ms: 1_795_262_400_000,
            text: "drained by alice: kernel".to_owned(),
        };
        let response = |message| WatchEventsResponse { cursor: "1-0-2-1".to_owned(), message };
        assert_eq!(
            line(&response(Some(Message::Event(event)))),
            "2026-11-21T12:00:00Z  override    eu-west  drained by alice: kernel\n"
        );
        assert!(line(&response(Some(Message::ResyncRequired("why".to_owned())))).contains("missing here: why"));
        assert_eq!(line(&response(None)), "");
    }
}
