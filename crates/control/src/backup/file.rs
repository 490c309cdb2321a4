//! The form of a backup file: a text line `meridian-backup <form> <SHA-256 of the rest>`, then the message.

use meridian_proto::store::v1 as stored;
use meridian_types::Digest;
use prost::Message;

use crate::store::document::{self, DocumentError, FORM};

/// The first word of every file.
const MAGIC: &str = "meridian-backup";
/// The first line is shorter than this.
const MAX_HEADER: usize = 128;

/// Why a file is no backup.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It begins as something else.
    #[error("the file does not begin as a backup")]
    Foreign,
    /// A byte changed, or the end is missing.
    #[error("the content does not have the digest that the first line names")]
    Corrupt,
    /// The digest is right but the content is not understood: another build wrote it.
    #[error("the backup cannot be read: {0}")]
    Unreadable(String),
}

pub(super) fn encode(backup: &stored::Backup) -> Vec<u8> {
    let body = backup.encode_to_vec();
    let mut file = format!("{MAGIC} {FORM} {}\n", Digest::of(&body)).into_bytes();
    file.extend(body);
    file
}

pub(super) fn decode(file: &[u8]) -> Result<stored::Backup, FileError> {
    let end = file.iter().take(MAX_HEADER).position(|byte| *byte == b'\n').ok_or(FileError::Foreign)?;
    let (header, body) = file.split_at_checked(end).ok_or(FileError::Foreign)?;
    let body = body.get(1..).ok_or(FileError::Foreign)?;
    let header = std::str::from_utf8(header).map_err(|_| FileError::Foreign)?;
    let mut words = header.split(' ');
    let (Some(MAGIC), Some(_), Some(digest)) = (words.next(), words.next(), words.next()) else {
        return Err(FileError::Foreign);
    };
    if Digest::of(body).to_string() != digest {
        return Err(FileError::Corrupt);
    }
    document::read(body).map_err(|error: DocumentError| FileError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let entries = vec![stored::BackupEntry { key: "head".to_owned(), value: vec![1, 2, 3].into() }];
        let backup = stored::Backup { form: FORM, cluster: "a".to_owned(), entries, ..stored::Backup::default() };
        let file = encode(&backup);
        assert_eq!(decode(&file).unwrap(), backup);
        for at in 0..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 0x20;
            // The form in the header is for people; the message has its own.
            let is_form = at == MAGIC.len() + 1;
            assert!(is_form || decode(&flipped).is_err(), "flipped at {at}");
            assert!(decode(&file[..at]).is_err(), "cut at {at}");
        }
        let newer = encode(&stored::Backup { form: FORM + 1, ..backup });
        assert!(matches!(decode(&newer), Err(FileError::Unreadable(_))));
    }
}
