//! The form of one last-known-good file.
//!
//! A text line `meridian-last-known-good <form> <SHA-256 of the rest, hexadecimal>`, then an encoded [`Document`].
//! Form 1 is frozen in `tests/data`; a reader refuses forms that it does not know.

use std::sync::Arc;

use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_proto::node::v1;
use meridian_proto::{convert, fleet, resources};
use meridian_types::{CommitId, Digest};
use prost::Message;

use crate::Peer;
use crate::held::{Held, HeldAccounts, HeldCommit, HeldSwitches};

/// The first word of every file.
const MAGIC: &str = "meridian-last-known-good";
/// The form that is written.
const FORM: u32 = 1;
/// The first line is shorter than this; where there is no line end within it, the file is none of ours.
const MAX_HEADER: usize = 128;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("the file does not begin as a last-known-good file")]
    Foreign,
    #[error("the file has form {0}; this build reads form {FORM}")]
    Form(u32),
    #[error("the content does not have the digest that the first line names")]
    Corrupt,
    #[error("the content cannot be read")]
    Unreadable(#[from] prost::DecodeError),
    #[error("the resources of commit {0} do not have its digest")]
    Digest(CommitId),
    #[error("the plan is none: {0}")]
    Plan(String),
}

/// What the file holds. Written and read by nodes only, hence no part of `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct Document {
    /// Wall clock of the writer.
    #[prost(int64, tag = "1")]
    saved_at_unix_ms: i64,
    #[prost(uint64, tag = "2")]
    commit: u64,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    resources: Vec<resources::v1::Resource>,
    #[prost(message, optional, tag = "5")]
    accounts: Option<AccountsDocument>,
    #[prost(message, optional, tag = "6")]
    plan: Option<fleet::v1::Plan>,
    /// 0: not known; builds before this field wrote none.
    #[prost(uint64, tag = "7")]
    cluster_id: u64,
    #[prost(message, repeated, tag = "8")]
    peers: Vec<v1::Peer>,
    /// Absent: none was heard, or a build before this field wrote it.
    #[prost(message, optional, tag = "9")]
    switches: Option<SwitchesDocument>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SwitchesDocument {
    #[prost(message, optional, tag = "1")]
    list: Option<v1::SwitchList>,
    /// Wall clock of the writer.
    #[prost(int64, tag = "2")]
    heard_at_unix_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AccountsDocument {
    #[prost(message, repeated, tag = "1")]
    tenants: Vec<resources::v1::Tenant>,
    #[prost(message, repeated, tag = "2")]
    keys: Vec<resources::v1::Key>,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Saved {
    /// Milliseconds since 1970.
    pub(crate) saved_at_unix_ms: i64,
    /// What it holds.
    pub(crate) held: Held,
}

/// The bytes of a file.
pub(crate) fn encode(held: &Held, saved_at_unix_ms: i64) -> Vec<u8> {
    let commit = held.commit.as_ref();
    let document = Document {
        saved_at_unix_ms,
        commit: commit.map_or(0, |commit| commit.id.0),
        digest: commit.map(|commit| commit.digest.as_bytes().to_vec()).unwrap_or_default(),
        resources: commit.map(|commit| commit.content.resources().collect()).unwrap_or_default(),
        accounts: held.accounts.as_ref().map(|held| AccountsDocument {
            tenants: held.accounts.tenants.values().map(Into::into).collect(),
            keys: held.accounts.keys.values().map(Into::into).collect(),
        }),
        plan: held.plan.as_deref().map(Into::into),
        cluster_id: held.cluster.unwrap_or(0),
        peers: held.peers.iter().flat_map(|peers| peers.iter()).map(Into::into).collect(),
        switches: held
            .switches
            .as_ref()
            .map(|held| SwitchesDocument { list: Some(held.list.clone()), heard_at_unix_ms: held.heard_at_unix_ms }),
    };
    let body = document.encode_to_vec();
    let mut file = format!("{MAGIC} {FORM} {}\n", Digest::of(&body)).into_bytes();
    file.extend(body);
    file
}

/// Reads a file back; every digest is checked.
pub(crate) fn decode(file: &[u8]) -> Result<Saved, FileError> {
    let end = file.iter().take(MAX_HEADER).position(|byte| *byte == b'\n').ok_or(FileError::Foreign)?;
    let (header, body) = file.split_at_checked(end).ok_or(FileError::Foreign)?;
    let body = body.get(1..).ok_or(FileError::Foreign)?;
    let header = std::str::from_utf8(header).map_err(|_| FileError::Foreign)?;
    let mut words = header.split(' ');
    let (Some(MAGIC), Some(form), Some(digest)) = (words.next(), words.next(), words.next()) else {
        return Err(FileError::Foreign);
    };
    let form = form.parse().map_err(|_| FileError::Foreign)?;
    if form != FORM {
        return Err(FileError::Form(form));
    }
    if Digest::of(body).to_string() != digest {
        return Err(FileError::Corrupt);
    }
    read(Document::decode(body)?)
}

fn read(document: Document) -> Result<Saved, FileError> {
    let id = CommitId(document.commit);
    let commit = if id == CommitId::NONE {
        None
    } else {
        let content = Content::from_resources(document.resources);
        let digest = content.digest();
        if digest.as_bytes() != document.digest {
            return Err(FileError::Digest(id));
        }
        Some(HeldCommit { id, digest, content: Arc::new(content) })
    };
    let plan = document.plan.as_ref().map(convert::plan).transpose().map_err(FileError::Plan)?;
    let peers: Vec<Peer> = document.peers.iter().filter_map(|peer| peer.try_into().ok()).collect();
    let held = Held {
        cluster: Some(document.cluster_id).filter(|id| *id != 0),
        commit,
        accounts: document.accounts.map(|document| HeldAccounts::new(Arc::new(read_accounts(&document)))),
        plan: plan.map(Arc::new),
        peers: (!peers.is_empty()).then(|| peers.into()),
        switches: document.switches.map(|document| {
            let list = document.list.unwrap_or_default();
            Arc::new(HeldSwitches { list, heard_at_unix_ms: document.heard_at_unix_ms })
        }),
    };
    Ok(Saved { saved_at_unix_ms: document.saved_at_unix_ms, held })
}

/// An account that cannot be read is left out: it only means that it cannot be used until a replica sends it again.
fn read_accounts(document: &AccountsDocument) -> Accounts {
    let tenants = document.tenants.iter().filter_map(|tenant| convert::tenant(tenant).ok());
    let keys = document.keys.iter().filter_map(|key| convert::key(key).ok());
    Accounts {
        tenants: tenants.map(|tenant| (tenant.name.clone(), tenant)).collect(),
        keys: keys.map(|key| (key.hash, key)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_file_gives_back_what_was_held() {
        let peer = |name: &str| Peer {
            node: name.parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            address: format!("{name}:443"),
            peer_address: (name == "n1").then(|| format!("{name}:7200")),
        };
        let peers: Option<Arc<[Peer]>> = Some(Arc::from([peer("n1"), peer("n2")]));
        let switch = |left_ms| v1::ActiveSwitch { switch: Some(fleet::v1::Switch::default()), left_ms };
        let list = v1::SwitchList { epoch: 1, revision: 9, switches: vec![switch(None), switch(Some(5))] };
        let switches = Some(Arc::new(HeldSwitches { list, heard_at_unix_ms: 1_699_999_999_000 }));
        let held = Held { cluster: Some(0xfeed), peers, switches, ..fixtures::held(7) };
        let saved = decode(&encode(&held, 1_700_000_000_000)).unwrap();
        assert_eq!(saved.saved_at_unix_ms, 1_700_000_000_000);
        fixtures::assert_same(&saved.held, &held);
        fixtures::assert_same(&decode(&encode(&Held::default(), 0)).unwrap().held, &Held::default());
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let file = encode(&fixtures::held(7), 1);
        for at in 0..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 0x20;
            assert!(decode(&flipped).is_err(), "flipped at {at}");
            assert!(decode(&file[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_of_any_bytes_is_read_or_refused() {
        let body = |file: &[u8]| file.splitn(2, |byte| *byte == b'\n').last().unwrap_or_default().to_vec();
        let corpus = [body(&encode(&fixtures::held(7), 1)), body(&encode(&Held::default(), 1))];
        meridian_testkit::fuzz("last-known-good files", 500_000, &corpus, |input| {
            drop(decode(input));
            // With the right digest, so that what lies behind it is reached.
            let header = format!("{MAGIC} {FORM} {}\n", Digest::of(input));
            drop(decode(&[header.as_bytes(), input].concat()));
        });
    }

    #[test]
    fn a_higher_form_is_refused_and_named() {
        let file = String::from_utf8_lossy(&encode(&Held::default(), 0)).replacen(" 1 ", " 2 ", 1);
        assert!(matches!(decode(file.as_bytes()), Err(FileError::Form(2))));
    }

    #[test]
    fn form_1_is_still_read() {
        let sample = include_bytes!("../../tests/data/last-known-good-form-1.lkg");
        let saved = decode(sample).unwrap();
        assert_eq!(saved.saved_at_unix_ms, 1_790_000_000_000);
        fixtures::assert_same(&saved.held, &fixtures::held(42));
    }
}
