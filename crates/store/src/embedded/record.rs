//! The bytes of entries and history in the file: little-endian, each string and value with its length before it.
//!
//! Entry: create, mod, version (u64 each), lease (i64, 0 for none), key, value. Batch: events one after the other, each
//! a tag byte (1 put with an entry, 2 delete with a key). The layout is number 1 of the file's format.

use bytes::{Buf, BufMut, Bytes, TryGetError};

use crate::{Batch, Entry, Error, Event, LeaseId, Result, Revision};

const PUT: u8 = 1;
const DELETE: u8 = 2;

pub(super) fn write_entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.key.len() + entry.value.len() + 64);
    put_entry(&mut out, entry);
    out
}

pub(super) fn read_entry(bytes: &[u8]) -> Result<Entry> {
    let mut rest = bytes;
    let entry = get_entry(&mut rest)?;
    if rest.has_remaining() { Err(malformed("bytes after an entry")) } else { Ok(entry) }
}

pub(super) fn write_batch(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    for event in &batch.events {
        match event {
            Event::Put(entry) => {
                out.put_u8(PUT);
                put_entry(&mut out, entry);
            }
            Event::Delete { key, .. } => {
                out.put_u8(DELETE);
                put_bytes(&mut out, key.as_bytes());
            }
        }
    }
    out
}

pub(super) fn read_batch(revision: Revision, bytes: &[u8]) -> Result<Batch> {
    let mut rest = bytes;
    let mut events = Vec::new();
    while rest.has_remaining() {
        events.push(match rest.get_u8() {
            PUT => Event::Put(get_entry(&mut rest)?),
            DELETE => Event::Delete { key: get_string(&mut rest)?, revision },
            tag => return Err(malformed(&format!("event tag {tag}"))),
        });
    }
    Ok(Batch { revision, events })
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.put_u64_le(entry.create_revision.0);
    out.put_u64_le(entry.mod_revision.0);
    out.put_u64_le(entry.version);
    out.put_i64_le(entry.lease.map_or(0, |id| id.0));
    put_bytes(out, entry.key.as_bytes());
    put_bytes(out, &entry.value);
}

fn get_entry(rest: &mut &[u8]) -> Result<Entry> {
    let create_revision = Revision(rest.try_get_u64_le().map_err(short)?);
    let mod_revision = Revision(rest.try_get_u64_le().map_err(short)?);
    let version = rest.try_get_u64_le().map_err(short)?;
    let lease = Some(LeaseId(rest.try_get_i64_le().map_err(short)?)).filter(|id| id.0 != 0);
    let key = get_string(rest)?;
    let value = get_bytes(rest)?;
    Ok(Entry { key, value, create_revision, mod_revision, version, lease })
}

/// Lengths are checked against [`crate::MAX_VALUE_BYTES`] long before, so they fit.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u64_le(bytes.len() as u64);
    out.put_slice(bytes);
}

fn get_bytes(rest: &mut &[u8]) -> Result<Bytes> {
    let length = rest.try_get_u64_le().map_err(short)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.remaining());
    let length = length.ok_or_else(|| malformed("length beyond the record"))?;
    Ok(rest.copy_to_bytes(length))
}

fn get_string(rest: &mut &[u8]) -> Result<String> {
    String::from_utf8(get_bytes(rest)?.to_vec()).map_err(|_| malformed("key that is not UTF-8"))
}

fn short(error: TryGetError) -> Error {
    Error::Corrupt { reason: "a record ends early".to_owned(), source: Some(Box::new(error)) }
}

fn malformed(what: &str) -> Error {
    Error::Corrupt { reason: format!("a record has a {what}"), source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(lease: Option<LeaseId>) -> Entry {
        Entry {
            key: "/m/é".to_owned(),
            value: Bytes::from_static(&[0, 255, 7]),
            create_revision: Revision(3),
            mod_revision: Revision(u64::MAX),
            version: 9,
            lease,
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for lease in [None, Some(LeaseId(5))] {
            assert_eq!(read_entry(&write_entry(&entry(lease))).unwrap(), entry(lease));
        }
        let revision = Revision(u64::MAX);
        let events = vec![Event::Put(entry(None)), Event::Delete { key: "/x".to_owned(), revision }];
        let batch = Batch { revision, events };
        assert_eq!(read_batch(revision, &write_batch(&batch)).unwrap(), batch);
    }

    #[test]
    fn every_cut_and_any_extra_byte_is_corruption_and_never_a_panic() {
        let whole = write_entry(&entry(Some(LeaseId(1))));
        for cut in 0..whole.len() {
            assert!(matches!(read_entry(&whole[..cut]), Err(Error::Corrupt { .. })), "cut at {cut}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert!(matches!(read_entry(&longer), Err(Error::Corrupt { .. })));
        assert!(matches!(read_batch(Revision(2), &[9]), Err(Error::Corrupt { .. })));
    }

    /// One frozen sample per format number: a change of the layout must come with a new number.
    #[test]
    fn format_1_is_what_it_was() {
        let mut sample = Vec::new();
        sample.extend([3, 0, 0, 0, 0, 0, 0, 0]);
        sample.extend([0xff; 8]);
        sample.extend([9, 0, 0, 0, 0, 0, 0, 0]);
        sample.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        sample.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        sample.extend("/m/é".as_bytes());
        sample.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 255, 7]);
        assert_eq!(write_entry(&entry(Some(LeaseId(5)))), sample);
    }
}
