//! Credentials: found where the configuration points, read again when they change, never shown.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use meridian_host::{Environment, Files};
use meridian_types::provider::CredentialRef;

/// How often a credential's file is looked at: a rotated key is in use within this time, and reading a small file costs
/// microseconds.
pub const CREDENTIAL_INTERVAL: Duration = Duration::from_secs(5);

/// Longest credential. Keys have under 1 KiB; cloud tokens a few KiB.
const MAX_CREDENTIAL_BYTES: usize = 16 * 1024;

/// Why there is none. Says where it was looked for, never what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The environment variable is not set, or not text.
    #[error("environment variable {0} is not set")]
    NoVariable(String),
    /// The file has not been looked at yet: it is within moments of the provider's first configuration.
    #[error("file {0} is not read yet")]
    Unread(String),
    /// The file cannot be read.
    #[error("file {path} cannot be read ({kind})")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// It is empty, too long, or no text.
    #[error("the credential in {0} is empty, longer than 16 KiB or not a line of text")]
    Unusable(String),
}

/// A secret; its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `place` is where it was found, for people.
    fn new(text: &str, place: impl FnOnce() -> String) -> Result<Self, CredentialError> {
        let text = text.trim();
        let usable = !text.is_empty() && text.len() <= MAX_CREDENTIAL_BYTES && !text.contains(char::is_control);
        if usable { Ok(Self(text.to_owned())) } else { Err(CredentialError::Unusable(place())) }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

type Held = Result<Option<Secret>, CredentialError>;

/// The credential of one provider, as last read.
#[derive(Debug)]
pub(crate) struct Credential {
    reference: Option<CredentialRef>,
    held: ArcSwap<Held>,
    was_read: AtomicBool,
}

impl Credential {
    /// Nothing is read yet from a file; an environment variable is, since it cannot change.
    pub(crate) fn new(reference: Option<CredentialRef>, environment: &dyn Environment) -> Self {
        let held = match &reference {
            None => Ok(None),
            Some(CredentialRef::Env(name)) => match environment.variable(name) {
                Some(text) => Secret::new(&text, || variable(name)).map(Some),
                None => Err(CredentialError::NoVariable(name.clone())),
            },
            Some(CredentialRef::File(path)) => Err(CredentialError::Unread(path.clone())),
        };
        Self { reference, held: ArcSwap::from_pointee(held), was_read: AtomicBool::new(false) }
    }

    /// Reads the file again, if the credential is in one. `true` if something changed.
    pub(crate) async fn refresh(&self, files: &dyn Files) -> bool {
        let Some(CredentialRef::File(path)) = &self.reference else { return false };
        let read = match files.read(Path::new(path)).await {
            Ok(bytes) => String::from_utf8(bytes)
                .map_err(|_| CredentialError::Unusable(file(path)))
                .and_then(|text| Secret::new(&text, || file(path)).map(Some)),
            Err(error) => Err(CredentialError::Unreadable { path: path.clone(), kind: error.kind() }),
        };
        // A file that is being replaced must not take a working credential away.
        let keep = read.is_err() && self.held.load().is_ok();
        self.was_read.store(true, Ordering::Release);
        let changed = !keep && **self.held.load() != read;
        if changed {
            self.held.store(Arc::new(read));
        }
        changed
    }

    /// Reads the file if nobody has yet, so that the first request finds it.
    pub(crate) async fn ensure_read(&self, files: &dyn Files) {
        if !self.was_read.load(Ordering::Acquire) {
            self.refresh(files).await;
        }
    }

    /// Where it comes from, for people.
    pub(crate) fn place(&self) -> String {
        match &self.reference {
            None => "no credential".to_owned(),
            Some(CredentialRef::Env(name)) => variable(name),
            Some(CredentialRef::File(path)) => file(path),
        }
    }

    /// What to send, if anything.
    pub(crate) fn current(&self) -> Arc<Held> {
        self.held.load_full()
    }
}

fn variable(name: &str) -> String {
    format!("environment variable {name}")
}

fn file(path: &str) -> String {
    format!("file {path}")
}

#[cfg(test)]
mod tests {
    use meridian_host::{DiskFiles, ProcessEnvironment};

    use super::*;

    fn text(credential: &Credential) -> Result<Option<String>, CredentialError> {
        (*credential.current()).clone().map(|secret| secret.map(|secret| secret.expose().to_owned()))
    }

    #[tokio::test]
    async fn a_file_is_trimmed_followed_and_not_forgotten_while_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let credential = Credential::new(Some(CredentialRef::File(path.display().to_string())), &ProcessEnvironment);
        assert!(text(&credential).is_err());
        for (content, expected) in
            [("sk-one\n", "sk-one"), ("  sk-two  ", "sk-two"), ("", "sk-two"), ("a\nb", "sk-two")]
        {
            std::fs::write(&path, content).unwrap();
            credential.refresh(&DiskFiles).await;
            assert_eq!(text(&credential), Ok(Some(expected.to_owned())));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!credential.refresh(&DiskFiles).await);
        assert_eq!(text(&credential), Ok(Some("sk-two".to_owned())));
        assert!(!format!("{credential:?}").contains("sk-two"));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let name = "MERIDIAN_TEST_SURELY_NOT_SET".to_owned();
        let credential = Credential::new(Some(CredentialRef::Env(name.clone())), &ProcessEnvironment);
        assert_eq!(text(&credential), Err(CredentialError::NoVariable(name)));
        assert_eq!(text(&Credential::new(None, &ProcessEnvironment)), Ok(None));
    }

    #[tokio::test]
    async fn what_is_unusable_is_named_by_its_place_and_never_shown() {
        struct Two;
        impl Environment for Two {
            fn variable(&self, name: &str) -> Option<String> {
                Some(if name == "GOOD" { "sk-good".to_owned() } else { "sk-secret\nsk-other".to_owned() })
            }
        }
        let of = |name: &str| Credential::new(Some(CredentialRef::Env(name.to_owned())), &Two);
        assert_eq!(text(&of("GOOD")), Ok(Some("sk-good".to_owned())));
        let told = text(&of("BAD")).unwrap_err().to_string();
        assert!(told.contains("environment variable BAD") && !told.contains("sk-"), "{told}");

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key").display().to_string();
        let credential = Credential::new(Some(CredentialRef::File(path.clone())), &Two);
        assert_eq!(text(&credential), Err(CredentialError::Unread(path.clone())));
        credential.refresh(&DiskFiles).await;
        assert_eq!(
            text(&credential).unwrap_err().to_string(),
            format!("file {path} cannot be read (entity not found)")
        );
        std::fs::write(&path, "sk-secret\nsk-other").unwrap();
        credential.refresh(&DiskFiles).await;
        let told = text(&credential).unwrap_err().to_string();
        assert!(told.contains(&path) && !told.contains("sk-"), "{told}");
    }
}
