//! Whether a changed configuration may be applied: every mistake in it at once.

use std::collections::{BTreeMap, BTreeSet};

use meridian_proto::accounts::Accounts;
use meridian_proto::admin::v1 as admin;
use meridian_proto::content::Content;
use meridian_proto::sketch;
use meridian_types::{Configuration, ErrorCode, Kind, Mistake, zone};

/// What is wrong with `content` as a whole. `removed` are the resources that the change takes away: who still
/// refers to one of them is named as the reason why it stays.
pub(super) fn configuration(
    content: &Content,
    accounts: &Accounts,
    removed: &BTreeSet<(Kind, String)>,
    codecs: &[String],
) -> Vec<Mistake> {
    let sketch = content.sketch();
    // What cannot be read of a resource does not keep the rest of it, or of the others, from being checked.
    let configuration = sketch.readable().clone();
    let mut found = unknown_codecs(&configuration, codecs);
    let uses = uses(&configuration, accounts);
    let mut in_use = Vec::new();
    for (kind, name) in removed {
        if let Some(users) = uses.get(&(*kind, name.clone())) {
            let users: Vec<String> = users.iter().map(|user| user.to_string()).collect();
            in_use.push(Mistake {
                kind: *kind,
                name: name.clone(),
                path: String::new(),
                code: ErrorCode::InUse,
                text: format!("it cannot be removed while it is used by {}", users.join(", ")),
            });
        }
    }
    let told: BTreeSet<(Kind, String, String)> = removed
        .iter()
        .filter_map(|what| uses.get(what))
        .flatten()
        .map(|user| (user.kind, user.name.clone(), user.path.clone()))
        .collect();
    let is_told = |mistake: &Mistake| told.contains(&(mistake.kind, mistake.name.clone(), mistake.path.clone()));
    let mut mistakes = sketch.check().err().unwrap_or_default();
    mistakes.retain(|mistake| !is_told(mistake));
    found.extend(unknown_models(&configuration, accounts, removed));
    let mut mistakes = sketch::without_repetitions(mistakes, found);
    mistakes.extend(in_use);
    mistakes
}

fn unknown_codecs(configuration: &Configuration, codecs: &[String]) -> Vec<Mistake> {
    let unknown = configuration.providers.values().filter(|provider| !codecs.contains(&provider.codec));
    let mistake = |provider: &meridian_types::Provider| Mistake {
        kind: Kind::Provider,
        name: provider.name.to_string(),
        path: "codec".to_owned(),
        code: ErrorCode::UnknownReference,
        text: format!(
            "there is no codec {:?}; there are: {}",
            provider.codec,
            super::listed(codecs.iter().map(String::as_str))
        ),
    };
    unknown.map(mistake).collect()
}

/// Tenants may name models; one that was never there is a slip of the pen.
fn unknown_models(
    configuration: &Configuration,
    accounts: &Accounts,
    removed: &BTreeSet<(Kind, String)>,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for tenant in accounts.tenants.values() {
        for (i, model) in tenant.allowed_models.iter().enumerate() {
            let told = removed.contains(&(Kind::Model, model.to_string()));
            if !told && !configuration.models.contains_key(model) {
                mistakes.push(Mistake {
                    kind: Kind::Tenant,
                    name: tenant.name.to_string(),
                    path: format!("allowed_models[{i}]"),
                    code: ErrorCode::UnknownReference,
                    text: format!("there is no model {model}"),
                });
            }
        }
    }
    mistakes
}

/// Where something is referred to.
struct User {
    kind: Kind,
    name: String,
    path: String,
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, " ({})", self.path) }
    }
}

type Uses = BTreeMap<(Kind, String), Vec<User>>;

fn uses(configuration: &Configuration, accounts: &Accounts) -> Uses {
    let mut uses = Uses::new();
    let mut add = |(what, used): (Kind, &str), kind: Kind, name: &str, path: String| {
        uses.entry((what, used.to_owned())).or_default().push(User { kind, name: name.to_owned(), path });
    };
    for model in configuration.models.values() {
        let name = model.name.as_str();
        for (t, tier) in model.tiers.iter().enumerate() {
            for (i, target) in tier.iter().enumerate() {
                let path = format!("tiers[{t}].targets[{i}].provider");
                add((Kind::Provider, target.provider.as_str()), Kind::Model, name, path);
            }
        }
        for (i, fallback) in model.fallbacks.iter().enumerate() {
            add((Kind::Model, fallback.as_str()), Kind::Model, name, format!("fallbacks[{i}]"));
        }
    }
    for zone in configuration.zones.values() {
        let name = zone.name.as_str();
        for (s, steered) in zone.steered.iter().enumerate() {
            for (i, region) in steered.regions.iter().enumerate() {
                add((Kind::Region, region.as_str()), Kind::Zone, name, format!("steered[{s}].regions[{i}]"));
            }
            if let zone::AllDown::FailTo(region) = &steered.all_down {
                add((Kind::Region, region.as_str()), Kind::Zone, name, format!("steered[{s}].all_down.fail_to"));
            }
        }
    }
    for tenant in accounts.tenants.values() {
        for (i, model) in tenant.allowed_models.iter().enumerate() {
            let path = format!("allowed_models[{i}]");
            add((Kind::Model, model.as_str()), Kind::Tenant, tenant.name.as_str(), path);
        }
    }
    for key in accounts.keys.values().filter(|key| key.revoked_at_unix_ms.is_none()) {
        let label = if key.label.is_empty() { String::new() } else { format!("label {:?}", key.label) };
        uses.entry((Kind::Tenant, key.tenant.to_string())).or_default().push(User {
            // Keys are no kind of resource; they are named with their tenant's kind of sentence.
            kind: Kind::Tenant,
            name: format!("{}'s key {}", key.tenant, key.hash.id()),
            path: label,
        });
    }
    uses
}

/// For the wire.
pub(super) fn message(mistake: Mistake) -> admin::Mistake {
    admin::Mistake {
        kind: mistake.kind.to_string(),
        name: mistake.name,
        field_path: mistake.path,
        code: mistake.code.to_string(),
        text: mistake.text,
    }
}
