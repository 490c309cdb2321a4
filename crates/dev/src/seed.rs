//! The first commit of a new instance: the example configuration, with the addresses that this instance has.

use std::path::Path;

use meridian_config::Source;
use meridian_control_client::admin;
use meridian_host::Host;
use meridian_proto::admin::v1::{ApplyRequest, CreateKeyRequest, GetResourcesRequest};
use meridian_proto::resources::v1::{self as wire, Resource};
use meridian_types::{KeyHash, Kind, RequestId, key_text};
use prost::Message;

use crate::Error;

/// The files of `examples/`, so that the binary needs none of them beside it.
const EXAMPLES: [(&str, &str); 5] = [
    ("examples/regions.yaml", include_str!("../../../examples/regions.yaml")),
    ("examples/providers.yaml", include_str!("../../../examples/providers.yaml")),
    ("examples/models.yaml", include_str!("../../../examples/models.yaml")),
    ("examples/zone.yaml", include_str!("../../../examples/zone.yaml")),
    ("examples/tenant.yaml", include_str!("../../../examples/tenant.yaml")),
];

/// A real account, used when its variable is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hosted {
    pub(crate) provider: &'static str,
    pub(crate) variable: &'static str,
    file: &'static str,
    text: &'static str,
}

const HOSTED: [Hosted; 2] = [
    Hosted {
        provider: "openai",
        variable: "OPENAI_API_KEY",
        file: "examples/hosted/openai.yaml",
        text: include_str!("../../../examples/hosted/openai.yaml"),
    },
    Hosted {
        provider: "anthropic",
        variable: "ANTHROPIC_API_KEY",
        file: "examples/hosted/anthropic.yaml",
        text: include_str!("../../../examples/hosted/anthropic.yaml"),
    },
];

/// The example tenant, who owns the printed key.
const TENANT: &str = "demo";

/// What the instance was seeded with.
pub(crate) struct Seeded {
    /// A key that opens every node.
    pub(crate) key: String,
    /// The zone and a steered name in it.
    pub(crate) zone: String,
    pub(crate) name: String,
    /// Real accounts that are in use.
    pub(crate) hosted: Vec<Hosted>,
}

/// Applies the examples if the store is new, points the simulated providers at `sim` if it moved, and makes sure that
/// the key in `data_dir` opens.
pub(crate) async fn seed(client: &mut admin::Client, host: &Host, data_dir: &Path, sim: &str) -> Result<Seeded, Error> {
    let (regions, commit) = resources(client, Kind::Region).await?;
    let is_set = |name: &str| host.environment.variable(name).is_some_and(|value| !value.is_empty());
    let hosted: Vec<_> = HOSTED.into_iter().filter(|hosted| is_set(hosted.variable)).collect();
    let mut sources: Vec<Source> = hosted.iter().map(|hosted| Source::new(hosted.file, hosted.text)).collect();
    let mut upserts = if regions.is_empty() {
        sources.extend(EXAMPLES.iter().map(|(file, text)| Source::new(file, text)));
        load(&sources)?
    } else {
        // A second start keeps what the operator made of it; only the simulator's address is ours.
        let mut providers = resources(client, Kind::Provider).await?.0;
        providers.extend(load(&sources)?);
        providers
    };
    for resource in &mut upserts {
        point_at_simulator(resource, sim)?;
    }
    apply(client, host, commit, upserts).await?;
    let (zone, name) = steered_name(client).await?;
    let key = key(client, host, &data_dir.join("key")).await?;
    Ok(Seeded { key, zone, name, hosted })
}

fn load(sources: &[Source]) -> Result<Vec<Resource>, Error> {
    let loaded = meridian_config::load(sources)
        .map_err(|mistakes| Error::Examples(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    Ok(loaded.resources)
}

/// Providers whose name starts with `sim-` speak to this instance's simulator.
fn point_at_simulator(resource: &mut Resource, sim: &str) -> Result<(), Error> {
    if resource.kind != Kind::Provider.as_str() || !resource.name.starts_with("sim-") {
        return Ok(());
    }
    let mut provider =
        wire::Provider::decode(resource.body.clone()).map_err(|error| Error::Examples(error.to_string()))?;
    provider.base_url = format!("{sim}/v1");
    resource.body = provider.encode_to_vec().into();
    Ok(())
}

async fn resources(client: &mut admin::Client, kind: Kind) -> Result<(Vec<Resource>, u64), Error> {
    let request = GetResourcesRequest { kind: kind.as_str().to_owned(), name: String::new() };
    let answer = client.get_resources(request).await?.into_inner();
    Ok((answer.resources, answer.commit))
}

async fn apply(
    client: &mut admin::Client,
    host: &Host,
    expected_commit: u64,
    upserts: Vec<Resource>,
) -> Result<(), Error> {
    let request = ApplyRequest {
        request_id: request_id(host),
        expected_commit,
        upserts,
        removals: Vec::new(),
        reason: "example configuration of meridian dev".to_owned(),
        dry_run: false,
        rollout: None,
    };
    let answer = client.apply(request).await?.into_inner();
    if answer.mistakes.is_empty() {
        return Ok(());
    }
    let lines = answer.mistakes.iter().map(|m| format!("{}/{}: {}: {}", m.kind, m.name, m.field_path, m.text));
    Err(Error::Examples(lines.collect::<Vec<_>>().join("\n")))
}

/// The first steered name of the first zone: an operator may have changed the examples since.
async fn steered_name(client: &mut admin::Client) -> Result<(String, String), Error> {
    for resource in resources(client, Kind::Zone).await?.0 {
        let Ok(message) = wire::Zone::decode(resource.body) else { continue };
        let Ok(zone) = meridian_proto::convert::zone(&message) else { continue };
        if let Some(steered) = zone.steered.first() {
            return Ok((zone.name.to_string(), steered.name.to_string()));
        }
    }
    Ok((String::new(), String::new()))
}

/// The key kept in `path`, made and registered if it is not known any more.
async fn key(client: &mut admin::Client, host: &Host, path: &Path) -> Result<String, Error> {
    let kept = host.files.read(path).await.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let known = client.list_keys(meridian_proto::admin::v1::ListKeysRequest::default()).await?.into_inner().keys;
    if let Some(kept) = kept.map(|text| text.trim().to_owned()) {
        let hash = KeyHash::of(&kept);
        let opens = |key: &wire::Key| *key.hash == *hash.0.as_bytes() && key.revoked_at_unix_ms == 0;
        if known.iter().any(opens) {
            return Ok(kept);
        }
    }
    let mut random = [0; 32];
    host.entropy.fill(&mut random);
    let key = key_text(random);
    let request = CreateKeyRequest {
        request_id: request_id(host),
        tenant: TENANT.to_owned(),
        label: "meridian dev".to_owned(),
        expires_at_unix_ms: 0,
        hash: KeyHash::of(&key).0.as_bytes().to_vec().into(),
        expected_revision: 0,
        reason: "first start".to_owned(),
    };
    client.create_key(request).await?;
    host.files.replace(path, key.as_bytes()).await.map_err(Error::files("write", path))?;
    Ok(key)
}

fn request_id(host: &Host) -> String {
    let mut random = [0; 16];
    host.entropy.fill(&mut random);
    RequestId::from_random(random).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosted_account_is_announced_by_the_name_and_the_variable_in_its_file() {
        for Hosted { provider, variable, text, .. } in HOSTED {
            assert!(text.contains(&format!("\nname: {provider}\n")), "{provider}");
            assert!(text.contains(&format!("{{env: {variable}}}")), "{variable}");
        }
    }
}
