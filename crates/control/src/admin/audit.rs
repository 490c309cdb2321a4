//! The audit: one entry for each write of an operator, put by the transaction that does it, and read newest first.
//!
//! What was refused changed nothing and is logged only: a pipeline that repeats a refused write would push the history
//! of real ones out of its bound (see `lead/housekeeping.rs`).

use futures::{StreamExt, TryStreamExt};
use meridian_proto::admin::v1 as admin;
use meridian_proto::store::v1 as stored;
use tonic::Status;

use super::write::{Call, refused};
use crate::shared::Shared;
use crate::store::document::{self, FORM};

/// Records of one answer.
const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;
/// Entries read from the store at once: each is a round trip.
const READS: usize = 16;

/// The key and the entry of a write of which `done` says what it changes and what comes of it; `id_unix_ms` orders it.
pub(super) fn entry(
    shared: &Shared,
    call: &Call<'_>,
    done: (String, String),
    id_unix_ms: i64,
) -> (String, stored::AuditEntry) {
    let at_unix_ms = shared.now_unix_ms();
    let mut random = [0; 10];
    shared.host.entropy.fill(&mut random);
    let (summary, outcome) = done;
    let entry = stored::AuditEntry {
        form: FORM,
        at_unix_ms,
        author: call.author.to_owned(),
        call: call.name.to_owned(),
        summary,
        reason: call.reason.to_owned(),
        request_id: call.request_id.to_owned(),
        outcome,
    };
    (shared.layout.audit(&ulid(id_unix_ms, random)), entry)
}

/// Answers from the store: the mirror holds the names alone.
pub(super) async fn read(shared: &Shared, request: &admin::AuditRequest) -> Result<admin::AuditResponse, Status> {
    let limit = match request.limit {
        0 => LIMIT_DEFAULT,
        1..=LIMIT_MAX => request.limit,
        _ => return Err(Status::invalid_argument(format!("limit must be 1 to {LIMIT_MAX}"))),
    };
    let view = shared.mirror.view();
    let is_older = |id: &&String| request.before.is_empty() || **id < request.before;
    let ids: Vec<String> = view.audits.iter().rev().filter(is_older).take(limit as usize).cloned().collect();
    let records = futures::stream::iter(ids.into_iter().map(|id| record(shared, id))).buffered(READS);
    let records: Vec<Option<admin::AuditRecord>> = records.try_collect().await?;
    Ok(admin::AuditResponse { records: records.into_iter().flatten().collect() })
}

/// `None`: it was cleared away meanwhile.
async fn record(shared: &Shared, id: String) -> Result<Option<admin::AuditRecord>, Status> {
    let found = shared.store.get(&shared.layout.audit(&id)).await.map_err(|error| refused(&error))?;
    let Some(found) = found else { return Ok(None) };
    let read = document::read(&found.value);
    let entry: stored::AuditEntry = read.map_err(|error| Status::internal(format!("the audit entry {id} {error}")))?;
    Ok(Some(admin::AuditRecord {
        id,
        at_unix_ms: entry.at_unix_ms,
        author: entry.author,
        call: entry.call,
        summary: entry.summary,
        reason: entry.reason,
        request_id: entry.request_id,
        outcome: entry.outcome,
    }))
}

/// 48 bits of time and 80 random ones in Crockford's base 32: sorts by time
/// (<https://github.com/ulid/spec>).
fn ulid(unix_ms: i64, random: [u8; 10]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let time = u128::from(unix_ms.unsigned_abs() & ((1 << 48) - 1));
    let value = random.iter().fold(time, |value, byte| value << 8 | u128::from(*byte));
    let digit = |i: u32| ALPHABET.get((value >> (5 * i) & 31) as usize).copied().map_or('0', char::from);
    (0..26).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulids_sort_by_time() {
        assert_eq!(ulid(0, [0; 10]), "00000000000000000000000000");
        // The example of the specification's reference implementation.
        assert!(ulid(1_469_918_176_385, [0; 10]).starts_with("01ARYZ6S41"));
        assert!(ulid(1, [255; 10]) < ulid(2, [0; 10]));
    }
}
