//! What etcd keeps: every version of every key since the last compaction, and leases. Pure: no clock, no socket.
//!
//! Written from etcd's API reference (<https://etcd.io/docs/v3.5/learning/api/>), not from our own stores.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::proto::{
    PbCompare, PbEvent, PbKeyValue, PbPutRequest, PbRangeRequest, PbRangeResponse, PbTargetUnion, PbTxnOpRequest,
    PbTxnRequest,
};

/// etcd's default `--max-txn-ops`.
const MAX_TXN_OPS: usize = 128;

/// Why etcd refuses a request; the texts are etcd's own (`api/v3rpc/rpctypes/error.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    EmptyKey,
    DuplicateKey,
    TooManyOps,
    Compacted,
    FutureRevision,
    LeaseNotFound,
}

/// A lease: its time, and the keys that end with it.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) ttl: i64,
    keys: BTreeSet<Vec<u8>>,
}

/// The whole keyspace.
#[derive(Debug, Clone)]
pub(super) struct Data {
    pub(super) revision: i64,
    pub(super) compacted: i64,
    /// Versions of each key, the oldest first; version 0 is a deletion.
    keys: BTreeMap<Vec<u8>, Vec<PbKeyValue>>,
    log: BTreeMap<i64, Vec<PbEvent>>,
    pub(super) leases: BTreeMap<i64, Lease>,
}

impl Default for Data {
    fn default() -> Self {
        // A new cluster is at revision 1.
        Self { revision: 1, compacted: 0, keys: BTreeMap::new(), log: BTreeMap::new(), leases: BTreeMap::new() }
    }
}

impl Data {
    /// The key as it is now.
    pub(super) fn get(&self, key: &[u8]) -> Option<&PbKeyValue> {
        self.keys.get(key)?.last().filter(|version| version.version > 0)
    }

    /// Keys in a range as of a revision, 0 for now.
    pub(super) fn range(&self, request: &PbRangeRequest) -> Result<PbRangeResponse, Refusal> {
        if request.key.is_empty() {
            return Err(Refusal::EmptyKey);
        }
        if request.revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        if request.revision > 0 && request.revision < self.compacted {
            return Err(Refusal::Compacted);
        }
        let at = if request.revision > 0 { request.revision } else { self.revision };
        let versions = self.keys.iter().filter(|(key, _)| within(key, &request.key, &request.range_end));
        let found: Vec<&PbKeyValue> = versions
            .filter_map(|(_, versions)| versions.iter().rev().find(|version| version.mod_revision <= at))
            .filter(|version| version.version > 0)
            .collect();
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let shown = |kv: &&PbKeyValue| match request.keys_only {
            true => PbKeyValue { value: Vec::new(), ..(*kv).clone() },
            false => (*kv).clone(),
        };
        let kvs = if request.count_only { Vec::new() } else { found.iter().take(limit).map(shown).collect() };
        let more = !request.count_only && found.len() > limit;
        let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
        Ok(PbRangeResponse { header: None, kvs, more, count })
    }

    /// Applies a transaction whole; whether its compares held.
    pub(super) fn txn(&mut self, request: &PbTxnRequest) -> Result<bool, Refusal> {
        check(request)?;
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &request.success } else { &request.failure };
        let puts = ops.iter().filter_map(|op| match &op.request {
            Some(PbTxnOpRequest::RequestPut(put)) => Some(put),
            _ => None,
        });
        for put in puts {
            if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                return Err(Refusal::LeaseNotFound);
            }
        }
        let revision = self.revision + 1;
        let mut events = Vec::new();
        for op in ops {
            match &op.request {
                Some(PbTxnOpRequest::RequestPut(put)) => events.push(self.put(put, revision)),
                Some(PbTxnOpRequest::RequestDeleteRange(range)) => {
                    events.extend(self.delete(&range.key, &range.range_end, revision));
                }
                _ => {}
            }
        }
        self.commit(revision, events);
        Ok(succeeded)
    }

    /// Forgets versions before `at`.
    pub(super) fn compact(&mut self, at: i64) -> Result<(), Refusal> {
        if at <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if at > self.revision {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = at;
        self.log = self.log.split_off(&at);
        self.keys.retain(|_, versions| {
            let superseded = versions.iter().rposition(|version| version.mod_revision <= at).unwrap_or(0);
            versions.drain(..superseded);
            // A deletion that nothing can ask for any more.
            versions.len() > 1 || versions.first().is_some_and(|only| only.version > 0 || only.mod_revision > at)
        });
        Ok(())
    }

    pub(super) fn grant(&mut self, id: i64, ttl: i64) {
        self.leases.insert(id, Lease { ttl, keys: BTreeSet::new() });
    }

    /// Ends a lease; its keys go under one revision.
    pub(super) fn revoke(&mut self, id: i64) -> Result<(), Refusal> {
        let lease = self.leases.remove(&id).ok_or(Refusal::LeaseNotFound)?;
        let revision = self.revision + 1;
        let events: Vec<PbEvent> = lease.keys.iter().flat_map(|key| self.delete(key, &[], revision)).collect();
        self.commit(revision, events);
        Ok(())
    }

    /// Events of the range from revision `from` to `to`, in order.
    pub(super) fn events(&self, from: i64, to: i64, key: &[u8], end: &[u8]) -> Vec<PbEvent> {
        if from > to {
            return Vec::new();
        }
        let events = self.log.range(from..=to).flat_map(|(_, events)| events);
        events.filter(|event| event.kv.as_ref().is_some_and(|kv| within(&kv.key, key, end))).cloned().collect()
    }

    fn commit(&mut self, revision: i64, events: Vec<PbEvent>) {
        if !events.is_empty() {
            self.revision = revision;
            self.log.insert(revision, events);
        }
    }

    fn put(&mut self, put: &PbPutRequest, revision: i64) -> PbEvent {
        let old = self.get(&put.key).cloned();
        if let Some(lease) = old.as_ref().and_then(|old| self.leases.get_mut(&old.lease)) {
            lease.keys.remove(&put.key);
        }
        if let Some(lease) = self.leases.get_mut(&put.lease) {
            lease.keys.insert(put.key.clone());
        }
        let kv = PbKeyValue {
            key: put.key.clone(),
            create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            value: put.value.clone(),
            lease: put.lease,
        };
        self.keys.entry(put.key.clone()).or_default().push(kv.clone());
        PbEvent { r#type: 0, kv: Some(kv), prev_kv: None }
    }

    fn delete(&mut self, key: &[u8], end: &[u8], revision: i64) -> Vec<PbEvent> {
        let mut events = Vec::new();
        for (name, versions) in self.keys.iter_mut().filter(|(name, _)| within(name, key, end)) {
            let Some(old) = versions.last().filter(|last| last.version > 0) else { continue };
            if let Some(lease) = self.leases.get_mut(&old.lease) {
                lease.keys.remove(name);
            }
            let tombstone = PbKeyValue { key: name.clone(), mod_revision: revision, ..PbKeyValue::default() };
            versions.push(tombstone.clone());
            events.push(PbEvent { r#type: 1, kv: Some(tombstone), prev_kv: None });
        }
        events
    }

    fn holds(&self, compare: &PbCompare) -> bool {
        let found = self.get(&compare.key);
        let number = |of: fn(&PbKeyValue) -> i64| found.map_or(0, of);
        let (have, want) = match &compare.target_union {
            Some(PbTargetUnion::ModRevision(want)) => (number(|kv| kv.mod_revision), *want),
            Some(PbTargetUnion::CreateRevision(want)) => (number(|kv| kv.create_revision), *want),
            Some(PbTargetUnion::Version(want)) => (number(|kv| kv.version), *want),
            Some(PbTargetUnion::Lease(want)) => (number(|kv| kv.lease), *want),
            Some(PbTargetUnion::Value(want)) => {
                return found.is_some_and(|kv| compare.result == 0 && kv.value == *want);
            }
            None => return false,
        };
        // EQUAL, GREATER, LESS, NOT_EQUAL.
        match compare.result {
            0 => have == want,
            1 => have > want,
            2 => have < want,
            _ => have != want,
        }
    }
}

fn check(request: &PbTxnRequest) -> Result<(), Refusal> {
    if [request.compare.len(), request.success.len(), request.failure.len()].into_iter().any(|n| n > MAX_TXN_OPS) {
        return Err(Refusal::TooManyOps);
    }
    for ops in [&request.success, &request.failure] {
        let mut put = BTreeSet::new();
        for op in ops {
            if let Some(PbTxnOpRequest::RequestPut(one)) = &op.request {
                if one.key.is_empty() {
                    return Err(Refusal::EmptyKey);
                }
                if !put.insert(&one.key) {
                    return Err(Refusal::DuplicateKey);
                }
            }
        }
    }
    Ok(())
}

/// Whether `key` lies in a range as requests write it: no end means one key, an end of `\0` no bound.
fn within(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == start,
        [0] => key >= start,
        _ => start <= key && key < end,
    }
}
