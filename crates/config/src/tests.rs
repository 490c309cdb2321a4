//! Golden mistakes, the examples, and resources that are read back as they were written.

use std::path::Path;

use crate::{Source, load, read, source, to_json, to_yaml};

fn sources(texts: &[(&str, &str)]) -> Vec<Source> {
    texts.iter().map(|(file, text)| Source { file: (*file).into(), text: (*text).to_owned() }).collect()
}

fn mistakes(text: &str) -> Vec<String> {
    match load(&sources(&[("f.yaml", text)])) {
        Ok(loaded) => panic!("{text} was accepted: {:?}", loaded.resources),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(mistakes(text), expected, "{text}");
}

const PROVIDER: &str = "kind: Provider\nname: p\ncodec: anthropic\nbase_url: https://a.test\njurisdiction: US\n";
const ZONE: &str = "kind: Zone\nname: a.test\nnameservers: [ns.a.test]\n";

#[test]
fn documents_say_what_they_are() {
    check("name: a\n", &["f.yaml:1:1: kind: this field is required: one of Region, Provider, Model, Zone, Tenant"]);
    check(
        "kind: Modle\nname: a\n",
        &["f.yaml:1:7: kind: unknown kind; did you mean Model? allowed: Region, Provider, Model, Zone, Tenant"],
    );
    check(
        "kind: Key\n",
        &["f.yaml:1:7: kind: keys are not declared: `meridian keys create` makes one and shows it once"],
    );
    check("kind: Tenant\n", &["f.yaml:1:1: Tenant/: name: this field is required"]);
    check("- a\n", &["f.yaml:1:1: a document is a mapping with `kind`, `name` and the kind's fields; this is a list"]);
    check("apiVersion: v2\nkind: Tenant\nname: a\n", &["f.yaml:1:13: apiVersion: only meridian/v1 is allowed"]);
}

#[test]
fn every_misfit_of_a_document_is_reported_with_its_place() {
    check(
        "kind: Model\nname: 7\ntiers:\n  - targets:\n      - {provder: p, weight: -1}\n      - {provider: p, weight: heavy}\n      - p\nfallbacks: m\n",
        &[
            "f.yaml:2:7: Model/: name: a number is not allowed here; write text, in quotes",
            "f.yaml:5:10: Model/: tiers[0].targets[0].provder: unknown field; did you mean provider? allowed: provider, model, weight, price, prefill",
            "f.yaml:5:30: Model/: tiers[0].targets[0].weight: -1 is not allowed; a whole number from 0 to 4294967295 is",
            "f.yaml:6:31: Model/: tiers[0].targets[1].weight: text is not allowed here; write a whole number from 0 to 4294967295, without quotes",
            "f.yaml:7:9: Model/: tiers[0].targets[2]: text is not allowed here; write a mapping: {provider, model, weight, price, prefill}",
            "f.yaml:8:12: Model/: fallbacks: text is not allowed here; write a list",
        ],
    );
}

#[test]
fn durations_choices_and_alternatives_say_what_is_allowed() {
    check(
        &format!(
            "{ZONE}steered:\n  - name: api\n    policy: nearest\n    ttl: 5m\n    all_down: {{fail_open: {{}}, fail_to: eu}}\n  - name: b\n    policy:\n    ttl: 30\n    all_down: {{refuse: yes}}\n"
        ),
        &[
            "f.yaml:6:13: Zone/a.test: steered[0].policy: \"nearest\" is unknown; did you mean NEAREST? allowed: NEAREST, WEIGHTED, FAILOVER",
            "f.yaml:7:10: Zone/a.test: steered[0].ttl: \"5m\" is no duration; write a duration in seconds with the unit s, such as 30s or 1.5s",
            "f.yaml:8:31: Zone/a.test: steered[0].all_down.fail_to: fail_open is given already; only one of fail_open, fail_to, refuse may be",
            "f.yaml:10:11: Zone/a.test: steered[1].policy: nothing is written here; leave the field out, or write one of NEAREST, WEIGHTED, FAILOVER",
            "f.yaml:11:10: Zone/a.test: steered[1].ttl: a number is not allowed here; write a duration in seconds with the unit s, such as 30s or 1.5s",
            "f.yaml:12:24: Zone/a.test: steered[1].all_down.refuse: text is not allowed here; write a mapping: {}",
        ],
    );
}

#[test]
fn a_literal_secret_is_refused_and_not_repeated() {
    let secret = "sk-live-1234567890";
    for line in [
        format!("credential: {secret}"),
        format!("api_key: {secret}"),
        format!("apiKey: {secret}"),
        format!("credential: {{value: {secret}}}"),
        format!("credential: {{token: {secret}}}"),
    ] {
        let found = mistakes(&format!("{PROVIDER}{line}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("f.yaml:6:") && found[0].contains("credential: {env: NAME}"), "{found:?}");
        assert!(!found[0].contains(secret), "{found:?}");
    }
    // The wrong thing in the right place is found by validation.
    let found = mistakes(&format!("{PROVIDER}credential: {{env: {secret}}}\n"));
    assert!(found[0].starts_with("f.yaml:6:14: Provider/p: credential.env: "), "{found:?}");
    assert!(!found[0].contains(secret), "{found:?}");
}

#[test]
fn validation_points_at_the_line() {
    check(
        "kind: Region\nname: a\ncoordinates:\n  latitude: 91\n  longitude: 0\nweight: 2000\n",
        &[
            "f.yaml:1:1: Region/a: jurisdiction: this field is required",
            "f.yaml:3:1: Region/a: coordinates: latitude must be -90 to 90, longitude -180 to 180 degrees",
            "f.yaml:6:1: Region/a: weight: 2000 is not allowed; 0 to 1000 is",
        ],
    );
}

#[test]
fn mistakes_of_all_files_come_together() {
    let found = load(&sources(&[
        ("b.yaml", "kind: Tenant\nname: t\n---\nkind: Tenant\nname: t\n"),
        ("a.yaml", "a: [\n"),
        ("c.yaml", "kind: Tenant\nname: T\n"),
    ]));
    let found: Vec<_> = found.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("a.yaml:1:4: unreadable YAML: "), "{found:?}");
    assert_eq!(found[1], "b.yaml:5:1: Tenant/t: name: this resource stands at b.yaml:1:1 already");
    assert!(found[2].starts_with("c.yaml:2:1: Tenant/T: name: \"T\" is no valid tenant name"), "{found:?}");
}

#[test]
fn references_are_checked_in_a_set_that_stands_alone() {
    let model = "kind: Model\nname: m\ntiers:\n  - targets:\n      - provider: nobody\n";
    let loaded = load(&sources(&[("m.yaml", model)])).unwrap();
    let found = loaded.check_references().unwrap_err();
    assert_eq!(
        found[0].to_string(),
        "m.yaml:5:9: Model/m: tiers[0].targets[0].provider: there is no provider nobody; there are: none"
    );
}

#[test]
fn camel_case_is_read_too() {
    let snake = load(&sources(&[("a", &format!("{PROVIDER}max_in_flight: 7\n"))])).unwrap();
    let camel =
        load(&sources(&[("a", &format!("{PROVIDER}maxInFlight: 7\n").replace("base_url", "baseUrl"))])).unwrap();
    assert_eq!(snake.resources, camel.resources);
    let found = mistakes(&format!("{PROVIDER}max_in_flight: 7\nmaxInFlight: 8\n"));
    assert_eq!(found, ["f.yaml:7:1: Provider/p: maxInFlight: max_in_flight is given twice, in two spellings"]);
}

#[test]
fn a_models_policy_is_written_in_yaml() {
    let model = "kind: Model\nname: m\nchoice: LOWEST_COST\non_refusal: OTHER_PROVIDER\n\
                 deadlines: {first_token: 3s, min_bytes_per_s: 0}\ntiers:\n  - targets:\n      \
                 - {provider: p, price: {input_micro_usd: 2500000, output_micro_usd: 10000000}}\n";
    let loaded = load(&sources(&[("p.yaml", PROVIDER), ("m.yaml", model)])).unwrap();
    let configuration = loaded.check_references().unwrap();
    let model = configuration.models.values().next().unwrap();
    assert_eq!(model.policy.choice, meridian_types::model::Choice::LowestCost);
    assert!(model.policy.reroute_refusals);
    assert_eq!(model.policy.deadlines.min_bytes_per_s, Some(0));
    assert_eq!(model.tiers[0][0].price.map(|price| price.output_micro_usd), Some(10_000_000));
}

#[test]
fn the_name_of_a_providers_token_limit_is_one_of_two() {
    use meridian_types::provider::TokenLimit;
    let limit = |line: &str| {
        let loaded = load(&sources(&[("p.yaml", &format!("{PROVIDER}{line}"))])).unwrap();
        let configuration = loaded.check_references().unwrap();
        configuration.providers.values().next().unwrap().token_limit
    };
    assert_eq!(limit(""), None);
    assert_eq!(limit("token_limit: MAX_TOKENS\n"), Some(TokenLimit::MaxTokens));
    assert_eq!(limit("token_limit: MAX_COMPLETION_TOKENS\n"), Some(TokenLimit::MaxCompletionTokens));
    assert_eq!(
        mistakes(&format!("{PROVIDER}token_limit: max_tokens\n")),
        [
            "f.yaml:6:14: Provider/p: token_limit: \"max_tokens\" is unknown; did you mean MAX_TOKENS? allowed: MAX_COMPLETION_TOKENS, MAX_TOKENS"
        ]
    );
}

#[test]
fn a_probe_says_what_it_asks_for() {
    use meridian_types::provider::ProbeKind;
    let kind = |line: &str| {
        let loaded = load(&sources(&[("p.yaml", &format!("{PROVIDER}{line}"))])).unwrap();
        let configuration = loaded.check_references().unwrap();
        configuration.providers.values().next().unwrap().probe.as_ref().map(|probe| probe.kind.clone())
    };
    assert_eq!(kind(""), None);
    assert_eq!(kind("probe: {interval: 5s}\n"), Some(ProbeKind::Models));
    assert_eq!(kind("probe: {kind: CONNECT}\n"), Some(ProbeKind::Connect));
    let completion = ProbeKind::Completion("small".parse().unwrap());
    assert_eq!(kind("probe: {kind: COMPLETION, model: small}\n"), Some(completion));
    let wrong = |line: &str| mistakes(&format!("{PROVIDER}probe: {line}\n"));
    assert_eq!(wrong("{kind: COMPLETION}"), ["f.yaml:6:1: Provider/p: probe.model: this field is required"]);
    assert_eq!(
        wrong("{kind: ALL}"),
        ["f.yaml:6:15: Provider/p: probe.kind: \"ALL\" is unknown; allowed: MODELS, CONNECT, COMPLETION"]
    );
}

/// Everything that is wrong in a set that stands alone.
fn everything(files: &[(&str, &str)]) -> Vec<String> {
    let found = read(&sources(files)).configuration().unwrap_err();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn mistakes_of_shape_of_fields_and_of_references_come_in_one_run() {
    let text = "\
kind: Model
name: chat
choice: CHEAPEST
tiers:
  - targets:
      - {provider: nobody, wieght: 3}
      - {provder: p}
      - {provider: p, weight: heavy}
      - {provider: p, weight: 2000, model: other}
fallbacks: [ghost, chat, 7, broken]
---
kind: Provider
name: p
codec: anthropic
base_url: ftp://a.test
jurisdiction: US
api_key: sk-live-1234567890
---
kind: Model
name: broken
tiers: [
---
kind: Provider
name: q
credential: sk-live-1234567890
---
kind: Zone
name: a.test
nameservers: [ns.a.test]
colour: red
steered:
  - {name: api, policy: NEAREST, regions: [mars], all_down: {fail_to: venus}}
  - {name: b, policy: nearest, band_km: 5, all_down: {refuse: no}}
---
kind: Modle
name: misspelt
---
kind: Model
name: with space
tiers: [{targets: [{provider: q}, {provider: none-such}]}]
fallbacks: [misspelt]
";
    let found = everything(&[("f.yaml", text)]);
    let expected = [
        "f.yaml:3:9: Model/chat: choice: \"CHEAPEST\" is unknown; allowed: BY_WEIGHT, FASTEST, PRIORITY, LOWEST_COST, SESSION",
        "f.yaml:6:10: Model/chat: tiers[0].targets[0].provider: there is no provider nobody; there are: p, q",
        "f.yaml:6:28: Model/chat: tiers[0].targets[0].wieght: unknown field; did you mean weight? allowed: provider, model, weight, price, prefill",
        "f.yaml:7:10: Model/chat: tiers[0].targets[1].provder: unknown field; did you mean provider? allowed: provider, model, weight, price, prefill",
        "f.yaml:8:31: Model/chat: tiers[0].targets[2].weight: text is not allowed here; write a whole number from 0 to 4294967295, without quotes",
        "f.yaml:9:23: Model/chat: tiers[0].targets[3].weight: 2000 is not allowed; 0 to 1000 is",
        "f.yaml:10:13: Model/chat: fallbacks[0]: there is no model ghost; there are: broken, chat, misspelt",
        "f.yaml:10:20: Model/chat: fallbacks[1]: a model cannot be its own fallback",
        "f.yaml:10:26: Model/chat: fallbacks[2]: a number is not allowed here; write text, in quotes",
        "f.yaml:15:1: Provider/p: base_url: not allowed; write an absolute http:// or https:// URL without user, query and fragment",
        "f.yaml:17:1: Provider/p: api_key: a secret must not stand in the configuration; write a reference: `credential: {env: NAME}` or `credential: {file: /PATH}`",
        "f.yaml:21:8: Model/broken: unreadable YAML: unclosed bracket '['",
        "f.yaml:23:1: Provider/q: base_url: this field is required: an absolute http:// or https:// URL without user, query and fragment",
        "f.yaml:23:1: Provider/q: codec: this field is required",
        "f.yaml:23:1: Provider/q: jurisdiction: this field is required",
        "f.yaml:25:13: Provider/q: credential: a secret must not stand in the configuration; write a reference: `credential: {env: NAME}` or `credential: {file: /PATH}`",
        "f.yaml:30:1: Zone/a.test: colour: unknown field; allowed: name, nameservers, hostmaster, negative_ttl, steered, records, networks",
        "f.yaml:32:44: Zone/a.test: steered[0].regions[0]: there is no region mars; there are: none",
        "f.yaml:32:62: Zone/a.test: steered[0].all_down.fail_to: there is no region venus; there are: none",
        "f.yaml:33:23: Zone/a.test: steered[1].policy: \"nearest\" is unknown; did you mean NEAREST? allowed: NEAREST, WEIGHTED, FAILOVER",
        "f.yaml:33:63: Zone/a.test: steered[1].all_down.refuse: text is not allowed here; write a mapping: {}",
        "f.yaml:35:7: kind: unknown kind; did you mean Model? allowed: Region, Provider, Model, Zone, Tenant",
        "f.yaml:39:1: Model/with space: name: \"with space\" is no valid model name: 1 to 200 printable characters without spaces",
        "f.yaml:40:36: Model/with space: tiers[0].targets[1].provider: there is no provider none-such; there are: p, q",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_fence_is_not_judged_by_a_region_that_cannot_be_read() {
    let region = "kind: Region\nname: eu\ncoordinates: {latitude: 0, longitude: 0}\njurisdiction: eu\n";
    let zone =
        format!("{ZONE}steered:\n  - {{name: api, policy: NEAREST, jurisdictions: [EU], all_down: {{fail_to: eu}}}}\n");
    let found = everything(&[("r.yaml", region), ("z.yaml", &zone)]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("r.yaml:4:1: Region/eu: jurisdiction: "), "{found:#?}");
    let found = everything(&[("r.yaml", &region.replace("jurisdiction: eu", "jurisdiction: US")), ("z.yaml", &zone)]);
    assert_eq!(found.len(), 2, "{found:#?}");
}

fn examples(directory: &str) -> Vec<Source> {
    source::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(directory)).unwrap()
}

#[test]
fn the_examples_are_right() {
    let loaded = load(&examples("")).unwrap();
    let configuration = loaded.check_references().unwrap();
    assert_eq!(configuration.regions.len(), 3);
    let mut all = examples("");
    all.extend(examples("hosted"));
    load(&all).unwrap().check_references().unwrap();
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let mut all = examples("");
    all.extend(examples("hosted"));
    let loaded = load(&all).unwrap();
    let yaml = to_yaml(&loaded.resources).unwrap();
    assert_eq!(load(&sources(&[("again.yaml", &yaml)])).unwrap().resources, loaded.resources, "{yaml}");
    // JSON is YAML.
    let json: String = to_json(&loaded.resources)
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| format!("--- {resource}\n"))
        .collect();
    assert_eq!(load(&sources(&[("again.json", &json)])).unwrap().resources, loaded.resources, "{json}");
}

#[test]
fn directories_are_read_in_order_and_nothing_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(source::read(dir.path()).unwrap_err().to_string().contains("no *.yaml or *.yml"));
    for name in ["b.yml", "a.yaml", "c.txt"] {
        std::fs::write(dir.path().join(name), "kind: Tenant\nname: a\n").unwrap();
    }
    std::fs::create_dir(dir.path().join("d.yaml")).unwrap();
    let found: Vec<_> = source::read(dir.path()).unwrap().into_iter().map(|source| source.file).collect();
    assert!(matches!(&*found, [a, b] if a.ends_with("a.yaml") && b.ends_with("b.yml")), "{found:?}");
}
