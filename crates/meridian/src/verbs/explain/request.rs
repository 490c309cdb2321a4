//! `explain request`: one request's story, with times.

use std::fmt::Write;

use meridian_proto::admin::v1::{FindRequestRequest, FindRequestResponse};
use meridian_proto::node::v1::{AttemptRecord, HandoverRecord, RequestRecord};

use crate::cli::OutputFormat;
use crate::connection::Connection;
use crate::failure::Usage;
use crate::format::{instant, table};
use crate::output;

pub(super) async fn request(connection: &Connection, id: String, output: OutputFormat) -> anyhow::Result<()> {
    if output == OutputFormat::Yaml {
        return Err(Usage("a request is shown as table or json".to_owned()).into());
    }
    let request = FindRequestRequest { request_id: id };
    let found = connection.read(async |mut client| client.find_request(request.clone()).await).await?;
    match output {
        OutputFormat::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&found)?)),
        _ => output::print(&stories(&found)),
    }
}

fn stories(found: &FindRequestResponse) -> String {
    found.records.iter().map(story).collect::<Vec<_>>().join("\n")
}

fn story(record: &RequestRecord) -> String {
    let RequestRecord { request_id, node, region, endpoint, tenant, model, .. } = record;
    let kind = if record.streamed { "streamed" } else { "whole" };
    let model = if model.is_empty() { "no model (its body was not read)" } else { model };
    let mut text = format!(
        "request {request_id}\n  began    {} on {node} ({region})\n  asked    {endpoint} for {model}, {kind}, tenant {tenant}\n",
        instant(record.began_unix_ms)
    );
    let with = if record.code.is_empty() { String::new() } else { format!(" with {}", record.code) };
    let first = match record.first_content_ms {
        Some(ms) => format!(", first content after {ms} ms"),
        None => ", no content".to_owned(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  ended    {}{with} after {} ms{first}", record.outcome, record.duration_ms);
    if !record.planned.is_empty() {
        let _ = writeln!(text, "  planned  {}", record.planned.join(", "));
    }
    if !record.attempts.is_empty() {
        let rows = (1..).zip(&record.attempts).map(|(number, attempt)| row(number, attempt));
        text.push('\n');
        text.push_str(&table(&["", "AT", "TOOK", "TARGET", "RESULT", "STATUS", "NOTES"], rows));
    }
    for passed in &record.passed_over {
        let _ = writeln!(text, "passed over at {} ms: {}: {}", passed.at_ms, passed.target, passed.why);
    }
    for handover in &record.handovers {
        let HandoverRecord { node, region, reason, began_ms, took_ms, result } = handover;
        let _ =
            writeln!(text, "handed over to {node} ({region}) at {began_ms} ms, {reason}: {result} after {took_ms} ms");
    }
    text
}

fn row(number: usize, attempt: &AttemptRecord) -> Vec<String> {
    let mut notes = Vec::new();
    if !attempt.fallback_model.is_empty() {
        notes.push(format!("fallback model {}", attempt.fallback_model));
    }
    if attempt.after_content {
        notes.push("after content had gone out".to_owned());
    }
    if !attempt.why.is_empty() {
        notes.push(attempt.why.clone());
    }
    if !attempt.fault.is_empty() {
        notes.push(format!("INJECTED by fault {}", attempt.fault));
    }
    let status = if attempt.status == 0 { "-".to_owned() } else { attempt.status.to_string() };
    vec![
        number.to_string(),
        format!("+{} ms", attempt.began_ms),
        format!("{} ms", attempt.took_ms),
        format!("{}:{}", attempt.provider, attempt.model),
        attempt.result.clone(),
        status,
        notes.join("; "),
    ]
}

#[cfg(test)]
mod tests {
    use meridian_proto::node::v1::PassedOver;

    use super::*;

    #[test]
    fn a_story_has_its_attempts_in_columns_and_its_times() {
        let attempt = |provider: &str, began_ms, result: &str, status| AttemptRecord {
            provider: provider.to_owned(),
            model: "gpt-4o".to_owned(),
            began_ms,
            took_ms: 40,
            result: result.to_owned(),
            status,
            ..AttemptRecord::default()
        };
        let fallback = AttemptRecord {
            fallback_model: "small".to_owned(),
            after_content: true,
            why: "it broke".to_owned(),
            ..attempt("b", 45, "transport", 0)
        };
        let struck = AttemptRecord { fault: "0a1b2c3d".to_owned(), ..attempt("a", 1, "provider", 503) };
        let passed = PassedOver { target: "c:gpt-4o".to_owned(), at_ms: 44, why: "no free place".to_owned() };
        let handover = HandoverRecord {
            node: "us-1".to_owned(),
            region: "us".to_owned(),
            reason: "exhausted".to_owned(),
            began_ms: 90,
            took_ms: 30,
            result: "ok".to_owned(),
        };
        let record = RequestRecord {
            request_id: "eu_n1_0123456789abcdef".to_owned(),
            node: "n1".to_owned(),
            region: "eu".to_owned(),
            began_unix_ms: 1_795_262_400_250,
            endpoint: "/v1/chat/completions".to_owned(),
            tenant: "acme".to_owned(),
            model: "large".to_owned(),
            streamed: true,
            outcome: "failed".to_owned(),
            code: "upstream_interrupted".to_owned(),
            duration_ms: 900,
            first_content_ms: Some(85),
            planned: vec!["a:gpt-4o".to_owned(), "c:gpt-4o".to_owned(), "b:gpt-4o".to_owned()],
            attempts: vec![struck, fallback],
            passed_over: vec![passed],
            handovers: vec![handover],
        };
        assert_eq!(
            story(&record),
            "request eu_n1_0123456789abcdef\n\
             \x20 began    2026-11-21T12:00:00.250Z on n1 (eu)\n\
             \x20 asked    /v1/chat/completions for large, streamed, tenant acme\n\
             \x20 ended    failed with upstream_interrupted after 900 ms, first content after 85 ms\n\
             \x20 planned  a:gpt-4o, c:gpt-4o, b:gpt-4o\n\
             \n\
             \x20  AT      TOOK   TARGET    RESULT     STATUS  NOTES\n\
             1  +1 ms   40 ms  a:gpt-4o  provider   503     INJECTED by fault 0a1b2c3d\n\
             2  +45 ms  40 ms  b:gpt-4o  transport  -       fallback model small; after content had gone out; it broke\n\
             passed over at 44 ms: c:gpt-4o: no free place\n\
             handed over to us-1 (us) at 90 ms, exhausted: ok after 30 ms\n"
        );
        let bare =
            story(&RequestRecord { outcome: "shed".to_owned(), code: "overloaded".to_owned(), ..Default::default() });
        assert!(
            bare.contains("for no model (its body was not read)") && bare.ends_with("0 ms, no content\n"),
            "{bare}"
        );
    }
}
