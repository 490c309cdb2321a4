//! Lists of a prefix: page by page, all pages as of one revision.

use bytes::Bytes;
use etcd_client::{Client, GetOptions, GetResponse, KeyValue};
use meridian_store::{Entry, Error, LeaseId, Listing, Result, Revision};

use crate::endpoints::{Endpoints, MAX_MESSAGE_BYTES};
use crate::{headless, revision};

/// Keys in the first page. A page that is too large to decode is asked for again with half as many.
const PAGE_KEYS: i64 = 1024;

/// How often a list begins anew because its revision was compacted between two pages.
const ATTEMPTS: usize = 3;

/// Everything under `prefix`, without values if `keys_only`.
pub(crate) async fn list(endpoints: &Endpoints, prefix: &str, keys_only: bool) -> Result<Listing> {
    let mut result = Err(Error::Compacted { at: Revision::ZERO });
    for _ in 0..ATTEMPTS {
        result = list_once(endpoints, prefix, keys_only).await;
        if !matches!(result, Err(Error::Compacted { .. })) {
            break;
        }
    }
    result
}

async fn list_once(endpoints: &Endpoints, prefix: &str, keys_only: bool) -> Result<Listing> {
    let (mut from, end) = bounds(prefix);
    let mut limit = PAGE_KEYS;
    let mut pinned = None;
    let mut entries = Vec::new();
    loop {
        let mut options = GetOptions::new().with_range(end.clone()).with_limit(limit);
        if keys_only {
            options = options.with_keys_only();
        }
        let mut answer = match page(endpoints, &from, options, pinned).await {
            Err(Error::TooLarge { .. }) if limit > 1 => {
                limit /= 2;
                continue;
            }
            answer => answer?,
        };
        let at = match pinned {
            Some(at) => at,
            None => revision(answer.header().ok_or_else(headless)?.revision()),
        };
        pinned = Some(at);
        let more = answer.more();
        for found in answer.take_kvs() {
            entries.push(entry(found)?);
        }
        match entries.last() {
            Some(last) if more => from = [last.key.as_bytes(), &[0]].concat(),
            _ => return Ok(Listing { entries, revision: at }),
        }
    }
}

async fn page(
    endpoints: &Endpoints,
    from: &[u8],
    mut options: GetOptions,
    pinned: Option<Revision>,
) -> Result<GetResponse> {
    if let Some(at) = pinned {
        options = options.with_revision(at.0.cast_signed());
    }
    let ask = |client: Client| {
        let options = options.clone();
        async move { client.kv_client().max_decoding_message_size(MAX_MESSAGE_BYTES).get(from, Some(options)).await }
    };
    endpoints.read(ask).await
}

/// First key and the key after the last one, as etcd wants them: `\0` for "no bound".
pub(crate) fn bounds(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let unbounded = vec![0];
    if prefix.is_empty() {
        return (unbounded.clone(), unbounded);
    }
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 has no byte 0xff, so the last byte can always be raised.
    match end.last_mut() {
        Some(last) => *last = last.saturating_add(1),
        None => return (unbounded.clone(), unbounded),
    }
    (prefix.as_bytes().to_vec(), end)
}

/// One key as ours. Keys that are not UTF-8 are somebody else's.
pub(crate) fn entry(found: KeyValue) -> Result<Entry> {
    let create_revision = revision(found.create_revision());
    let mod_revision = revision(found.mod_revision());
    let version = found.version().cast_unsigned();
    let lease = Some(LeaseId(found.lease())).filter(|lease| lease.0 != 0);
    let (key, value) = found.into_key_value();
    Ok(Entry { key: text(key)?, value: Bytes::from(value), create_revision, mod_revision, version, lease })
}

/// A key as text.
pub(crate) fn text(key: Vec<u8>) -> Result<String> {
    String::from_utf8(key).map_err(|e| Error::Corrupt {
        reason: "a key under our prefix is not UTF-8".to_owned(),
        source: Some(Box::new(e)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_string_that_does_not_have_it() {
        let check = |prefix: &str, from: &[u8], end: &[u8]| {
            assert_eq!(bounds(prefix), (from.to_vec(), end.to_vec()), "{prefix}");
        };
        check("", b"\0", b"\0");
        check("/m/", b"/m/", b"/m0");
        check("é", &[0xc3, 0xa9], &[0xc3, 0xaa]);
        check("\u{10ffff}", &[0xf4, 0x8f, 0xbf, 0xbf], &[0xf4, 0x8f, 0xbf, 0xc0]);
    }
}
