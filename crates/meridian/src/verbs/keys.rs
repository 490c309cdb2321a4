//! `keys`: made here, so that the control plane never sees one; only its SHA-256 is sent.

use clap::Subcommand;
use meridian_proto::admin::v1::{CreateKeyRequest, ListKeysRequest, RevokeKeyRequest};
use meridian_proto::resources::v1::Key;
use meridian_types::{KeyHash, key_text};

use crate::connection::Connection;
use crate::format::{date, parse_date, table};
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysVerb {
    /// Make a key and print it, this once, alone on standard output.
    Create {
        /// Whose it is.
        #[arg(long)]
        tenant: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        label: String,
        /// Date in UTC after which it opens nothing, such as 2027-01-31T00:00:00Z; default: never.
        #[arg(long, value_name = "DATE", value_parser = parse_date)]
        expires: Option<i64>,
        /// Refuse if the tenant was changed, or was given a key, after this revision, which `keys list` says.
        #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
        expect_revision: u64,
        /// Why, for the audit.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// List keys by their ids.
    List {
        /// Only this tenant's.
        #[arg(long, default_value = "")]
        tenant: String,
    },
    /// Revoke a key: every connected node refuses it within a second.
    Revoke {
        /// As `keys list` shows it.
        id: String,
        /// Refuse if the key was changed after this revision, which `keys list` says.
        #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
        expect_revision: u64,
        /// Why, for the audit.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub(crate) async fn run(connection: &Connection, verb: KeysVerb) -> anyhow::Result<()> {
    match verb {
        KeysVerb::Create { tenant, label, expires, expect_revision, reason } => {
            let (text, hash) = make(connection);
            let request = CreateKeyRequest {
                request_id: connection.request_id(),
                tenant,
                label,
                expires_at_unix_ms: expires.unwrap_or(0),
                hash: hash.0.as_bytes().to_vec().into(),
                expected_revision: expect_revision,
                reason,
            };
            create(connection, &request, &text).await
        }
        KeysVerb::List { tenant } => list(connection, tenant).await,
        KeysVerb::Revoke { id, expect_revision, reason } => {
            let request_id = connection.request_id();
            let request = RevokeKeyRequest { request_id, id, expected_revision: expect_revision, reason };
            revoke(connection, &request).await
        }
    }
}

/// A new key, and what of it is sent.
fn make(connection: &Connection) -> (String, KeyHash) {
    let mut random = [0; 32];
    connection.host.entropy.fill(&mut random);
    let text = key_text(random);
    let hash = KeyHash::of(&text);
    (text, hash)
}

async fn create(connection: &Connection, request: &CreateKeyRequest, text: &str) -> anyhow::Result<()> {
    let response = connection.write(async |mut client| client.create_key(request.clone()).await).await?;
    let key = response.key.unwrap_or_default();
    output::complain(&format!("key {} of tenant {}; it is not shown again:", key.id, key.tenant));
    output::print(&format!("{text}\n"))?;
    Ok(())
}

async fn list(connection: &Connection, tenant: String) -> anyhow::Result<()> {
    let request = ListKeysRequest { tenant };
    let listed = connection.read(async |mut client| client.list_keys(request.clone()).await).await?;
    let now = connection.host.clock.now_unix_ms();
    let rows = listed.keys.into_iter().map(|key| {
        let state = state(&key, now);
        let label = if key.label.is_empty() { "-".to_owned() } else { key.label };
        vec![key.id, key.tenant, label, state, date(key.created_at_unix_ms), date(key.expires_at_unix_ms)]
    });
    output::print(&table(&["ID", "TENANT", "LABEL", "STATE", "CREATED", "EXPIRES"], rows))?;
    // Beside the table, for --expect-revision.
    output::complain(&format!("revision {}", listed.revision));
    Ok(())
}

fn state(key: &Key, now: i64) -> String {
    match (key.revoked_at_unix_ms, key.expires_at_unix_ms) {
        (0, 0) => "valid".to_owned(),
        (0, expires) if now < expires => "valid".to_owned(),
        (0, _) => "EXPIRED".to_owned(),
        (revoked, _) => format!("REVOKED {}", date(revoked)),
    }
}

async fn revoke(connection: &Connection, request: &RevokeKeyRequest) -> anyhow::Result<()> {
    let response = connection.write(async |mut client| client.revoke_key(request.clone()).await).await?;
    let key = response.key.unwrap_or_default();
    output::print(&format!("key {} of tenant {} is revoked\n", key.id, key.tenant))?;
    Ok(())
}
