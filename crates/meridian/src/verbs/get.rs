//! `get`.

use clap::Args;
use meridian_config::{describe, to_json, to_yaml};
use meridian_proto::admin::v1::GetResourcesRequest;
use meridian_proto::resources::v1::Resource;
use meridian_types::Kind;
use serde_json::Value;
use tonic::Code;

use super::apply::kind;
use crate::cli::OutputFormat;
use crate::connection::Connection;
use crate::format::table;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// region, provider, model, zone, tenant, or `all`.
    #[arg(value_parser = kinds)]
    kind: Kinds,
    /// Only this one.
    name: Option<String>,
    /// `yaml` is what `apply` reads.
    #[arg(short = 'o', long, value_enum, default_value = "table")]
    output: OutputFormat,
}

#[derive(Debug, Clone)]
struct Kinds(Vec<Kind>);

fn kinds(text: &str) -> Result<Kinds, String> {
    match text.to_ascii_lowercase().as_str() {
        "all" => Ok(Kinds(Kind::ALL.to_vec())),
        // They are never in files: only their hashes are known.
        "key" | "keys" => Err("`meridian keys list` shows keys".to_owned()),
        _ => kind(text).map(|kind| Kinds(vec![kind])),
    }
}

pub(crate) async fn get(connection: &Connection, args: &GetArgs) -> anyhow::Result<()> {
    let mut resources = Vec::new();
    for kind in &args.kind.0 {
        let name = args.name.clone().unwrap_or_default();
        let request = GetResourcesRequest { kind: kind.as_str().to_owned(), name };
        match connection.client.clone().get_resources(request).await {
            Ok(response) => resources.extend(response.into_inner().resources),
            // Of this kind; it may be of the next.
            Err(status) if status.code() == Code::NotFound && args.name.is_some() => {}
            Err(status) => return Err(connection.refused(&status)),
        }
    }
    if let (Some(name), true) = (&args.name, resources.is_empty()) {
        let kinds: Vec<_> = args.kind.0.iter().map(|kind| kind.as_str()).collect();
        return Err(anyhow::anyhow!("there is no {}/{name}", kinds.join(" or ")));
    }
    let text = match args.output {
        OutputFormat::Yaml => to_yaml(&resources)?,
        OutputFormat::Json => json(&resources, args.name.is_some())?,
        OutputFormat::Table => tables(&args.kind.0, &resources)?,
    };
    output::print(&text)?;
    Ok(())
}

/// One object where one was asked for by name, else an array.
fn json(resources: &[Resource], one: bool) -> anyhow::Result<String> {
    let value = match resources {
        [resource] if one => describe(resource)?,
        resources => to_json(resources)?,
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&value)?))
}

fn tables(kinds: &[Kind], resources: &[Resource]) -> anyhow::Result<String> {
    let mut tables = Vec::new();
    for kind in kinds {
        let of_kind: Vec<_> = resources.iter().filter(|resource| resource.kind == kind.as_str()).collect();
        if of_kind.is_empty() && kinds.len() > 1 {
            continue;
        }
        let mut rows = Vec::new();
        for resource in of_kind {
            let fields = describe(resource)?;
            rows.push(columns(*kind).iter().map(|(_, path)| cell(&fields, path)).collect());
        }
        let header: Vec<_> = columns(*kind).iter().map(|(title, _)| *title).collect();
        tables.push(table(&header, rows));
    }
    Ok(tables.join("\n"))
}

/// Title and field of each column; what matters first.
fn columns(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Region => &[
            ("REGION", "name"),
            ("JURISDICTION", "jurisdiction"),
            ("WEIGHT", "weight"),
            ("COORDINATES", "coordinates"),
            ("ADDRESSES", "addresses"),
        ],
        Kind::Provider => &[
            ("PROVIDER", "name"),
            ("CODEC", "codec"),
            ("BASE URL", "base_url"),
            ("JURISDICTION", "jurisdiction"),
            ("CREDENTIAL", "credential"),
        ],
        Kind::Model => &[("MODEL", "name"), ("TIERS", "tiers"), ("FALLBACKS", "fallbacks")],
        Kind::Zone => &[("ZONE", "name"), ("NAME SERVERS", "nameservers"), ("STEERED", "steered")],
        Kind::Tenant => &[("TENANT", "name"), ("JURISDICTIONS", "allowed_jurisdictions"), ("MODELS", "allowed_models")],
    }
}

fn cell(fields: &Value, field: &str) -> String {
    match (field, fields.get(field)) {
        ("weight", None) => "100 (default)".to_owned(),
        ("tiers", Some(tiers)) => list(tiers, " > ", |tier| {
            list(tier.get("targets").unwrap_or(&Value::Null), " + ", |target| {
                let text = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                let model = text("model");
                if model.is_empty() { text("provider") } else { format!("{}:{model}", text("provider")) }
            })
        }),
        ("steered", Some(steered)) => list(steered, ", ", |entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            format!("{} ({})", text("name"), text("policy"))
        }),
        ("coordinates", Some(place)) => {
            let degrees = |key: &str| place.get(key).and_then(Value::as_f64).unwrap_or_default();
            format!("{}, {}", degrees("latitude"), degrees("longitude"))
        }
        ("allowed_jurisdictions" | "allowed_models", None) => "any".to_owned(),
        (_, Some(value)) => plain(value),
        (_, None) => "-".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) => list(value, ", ", plain),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn list(value: &Value, separator: &str, each: impl Fn(&Value) -> String) -> String {
    value.as_array().map(|items| items.iter().map(each).collect::<Vec<_>>().join(separator)).unwrap_or_default()
}
