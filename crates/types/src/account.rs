//! Accounts: tenants and keys.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Digest, Jurisdiction, ModelName, TenantName};

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// Where its requests may be processed; empty: anywhere.
    pub allowed_jurisdictions: Vec<Jurisdiction>,
    /// What it may call; empty: everything.
    pub allowed_models: Vec<ModelName>,
    /// Who goes first when a node is full.
    pub class: Class,
}

/// Who goes first when a node is full; the lowest is shed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Class {
    /// Work that can wait.
    Batch,
    /// Most requests.
    #[default]
    Default,
    /// What must not wait for the others.
    Critical,
}

impl Class {
    /// Every class, the lowest first.
    pub const ALL: [Self; 3] = [Self::Batch, Self::Default, Self::Critical];

    /// As it stands in headers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Default => "default",
            Self::Critical => "critical",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

/// The text of a new key: `mrd_` and 256 random bits in base64url, so that scanners for leaked secrets know it.
pub fn key_text(random: [u8; 32]) -> String {
    format!("mrd_{}", URL_SAFE_NO_PAD.encode(random))
}

/// SHA-256 of a key's text. A key has 256 random bits, so that a fast hash is enough, and needed: it is computed for
/// every request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub Digest);

impl KeyHash {
    /// Of a key as the client sends it.
    pub fn of(key: &str) -> Self {
        Self(Digest::of(key.as_bytes()))
    }

    /// What operators name the key by: the first 12 hexadecimal digits.
    pub fn id(&self) -> String {
        let mut id = self.0.to_string();
        id.truncate(12);
        id
    }

    /// Which of the 256 buckets the key is in.
    pub fn bucket(&self) -> u8 {
        self.0.0[0]
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({}...)", self.id())
    }
}

/// What a client calls with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// SHA-256 of its text.
    pub hash: KeyHash,
    /// Whose it is.
    pub tenant: TenantName,
    /// What the operator called it.
    pub label: String,
    /// Milliseconds since 1970.
    pub created_at_unix_ms: i64,
    /// `None`: never.
    pub expires_at_unix_ms: Option<i64>,
    /// `None`: it is not.
    pub revoked_at_unix_ms: Option<i64>,
}

impl Key {
    /// Whether it opens the door at `now`.
    pub fn is_valid_at(&self, now_unix_ms: i64) -> bool {
        self.revoked_at_unix_ms.is_none() && self.expires_at_unix_ms.is_none_or(|expiry| now_unix_ms < expiry)
    }
}
