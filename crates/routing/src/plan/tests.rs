//! Planning over one small configuration.

use meridian_types::provider::{DEFAULT_MAX_IN_FLIGHT, Deadlines};
use meridian_types::{Configuration, Model, Provider, ProviderName, Tenant, TenantName, model};

use super::*;

fn provider(name: &str, jurisdiction: &str) -> Provider {
    Provider {
        name: ProviderName::new(name).unwrap(),
        codec: "openai_compatible".into(),
        base_url: format!("http://{name}.example"),
        credential: None,
        jurisdiction: Jurisdiction::new(jurisdiction).unwrap(),
        max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        deadlines: Deadlines::default(),
        probe: None,
        token_limit: None,
    }
}

fn target(provider: &str, weight: u32) -> model::Target {
    model::Target {
        provider: ProviderName::new(provider).unwrap(),
        model: ModelName::new("up").unwrap(),
        weight,
        price: None,
        prefill: None,
    }
}

/// `chat`: tier 1 `us` and `eu` (weight 0), tier 2 `us2`; falls back to `small`, which is served by `eu` and `cn`.
fn table() -> Table {
    let mut configuration = Configuration::default();
    for (name, place) in [("us", "US"), ("us2", "US"), ("eu", "EU"), ("cn", "CN")] {
        let provider = provider(name, place);
        configuration.providers.insert(provider.name.clone(), provider);
    }
    let small = ModelName::new("small").unwrap();
    let chat = Model {
        name: ModelName::new("chat").unwrap(),
        tiers: vec![vec![target("eu", 0), target("us", 100)], vec![target("us2", 100)]],
        fallbacks: vec![small.clone()],
        policy: model::Policy::default(),
    };
    let small = Model {
        name: small,
        tiers: vec![vec![target("eu", 100)], vec![target("cn", 100)]],
        fallbacks: vec![],
        policy: model::Policy::default(),
    };
    for model in [chat, small] {
        configuration.models.insert(model.name.clone(), model);
    }
    assert!(configuration.check().is_empty());
    Table::compile(&configuration)
}

fn tenant(jurisdictions: &[&str], models: &[&str]) -> Constraints {
    Constraints::of(&Tenant {
        name: TenantName::new("t").unwrap(),
        allowed_jurisdictions: jurisdictions.iter().map(|name| Jurisdiction::new(name).unwrap()).collect(),
        allowed_models: models.iter().map(|name| ModelName::new(name).unwrap()).collect(),
        class: meridian_types::Class::Default,
    })
}

fn known(availability: Availability) -> Health {
    Health { availability, is_off: false, load: crate::Load::default() }
}

fn plan(model: &str, constraints: &Constraints, cooling: &[(&str, u64)]) -> Result<Vec<String>, Refusal> {
    let availability = |id: &TargetId| match cooling.iter().find(|(name, _)| *name == id.provider.as_str()) {
        Some((_, seconds)) => Availability::Cooling(Duration::from_secs(*seconds), Cause::Failed),
        None => Availability::Available,
    };
    let health = |id: &TargetId| known(availability(id));
    let show = |c: Candidate| format!("{}:{}{}", c.model, c.target.provider, if c.last_resort { "!" } else { "" });
    table().plan(model, constraints, &health, &|| 7, &mut || 0.5).map(|plan| plan.into_iter().map(show).collect())
}

#[track_caller]
fn check(model: &str, constraints: Constraints, cooling: &[(&str, u64)], expected: &[&str]) {
    assert_eq!(plan(model, &constraints, cooling).unwrap(), expected);
}

#[test]
fn tiers_come_in_order_then_fallbacks_and_no_target_twice() {
    check("chat", tenant(&[], &[]), &[], &["chat:us", "chat:eu", "chat:us2", "small:cn"]);
}

#[test]
fn residency_filters_tiers_and_fallbacks_alike() {
    check("chat", tenant(&["EU", "CN"], &[]), &[], &["chat:eu", "small:cn"]);
    check("chat", tenant(&["EU"], &[]), &[], &["chat:eu"]);
}

#[test]
fn a_fallback_that_the_tenant_may_not_use_is_left_out() {
    check("chat", tenant(&[], &["chat"]), &[], &["chat:us", "chat:eu", "chat:us2"]);
}

#[test]
fn what_cools_down_is_skipped_and_if_all_do_the_nearest_to_its_end_is_tried() {
    check("chat", tenant(&[], &[]), &[("us", 9)], &["chat:eu", "chat:us2", "small:cn"]);
    check("chat", tenant(&["US"], &[]), &[("us", 9), ("us2", 3)], &["chat:us2!"]);
}

#[test]
fn who_has_asked_to_be_left_alone_is_nobodys_last_resort() {
    let plan = |us: Availability, us2: Availability| {
        let health = |id: &TargetId| known(if id.provider.as_str() == "us" { us } else { us2 });
        let plan = table().plan("chat", &tenant(&["US"], &[]), &health, &|| 7, &mut || 0.5).unwrap();
        plan.into_iter().map(|candidate| candidate.target.provider.to_string()).collect::<Vec<_>>()
    };
    let cooling = |seconds, cause| Availability::Cooling(Duration::from_secs(seconds), cause);
    let resting = cooling(3, Cause::Asked);
    assert_eq!(plan(resting, Availability::Available), ["us2"]);
    assert_eq!(plan(resting, cooling(9, Cause::Failed)), ["us2"], "although its time comes later");
    assert_eq!(plan(resting, cooling(9, Cause::Suspected)), ["us2"]);
    assert_eq!(plan(resting, resting), Vec::<String>::new());
}

/// `chat` in the US, with this known of `us`.
fn chat_in_the_us(us: Availability) -> Vec<String> {
    let health = |id: &TargetId| known(if id.provider.as_str() == "us" { us } else { Availability::Available });
    let plan = table().plan("chat", &tenant(&["US"], &[]), &health, &|| 7, &mut || 0.5).unwrap();
    plan.into_iter().map(|candidate| candidate.target.provider.to_string()).collect()
}

#[test]
fn a_target_that_is_coming_back_is_first_by_its_share_and_otherwise_last_but_never_lost() {
    assert_eq!(chat_in_the_us(Availability::Ramping(0.6)), ["us", "us2"]);
    assert_eq!(chat_in_the_us(Availability::Ramping(0.4)), ["us2", "us"]);
}

#[test]
fn a_suspected_target_is_left_out_while_others_are_there() {
    let suspected = Availability::Cooling(Duration::from_secs(1), Cause::Suspected);
    assert_eq!(chat_in_the_us(suspected), ["us2"]);
    let all = table().plan("chat", &tenant(&["US"], &[]), &|_| known(suspected), &|| 7, &mut || 0.5).unwrap();
    assert_eq!(all.len(), 1, "one of two comes back: {all:?}");
    assert!(all[0].last_resort);
}

#[test]
fn who_is_switched_off_is_not_there_not_even_as_the_least_bad() {
    let plan = |off: &[&str], others: Availability| {
        let health = |id: &TargetId| Health { is_off: off.contains(&id.provider.as_str()), ..known(others) };
        let plan = table().plan("chat", &tenant(&["US"], &[]), &health, &|| 7, &mut || 0.5).unwrap();
        plan.into_iter().map(|candidate| candidate.target.provider.to_string()).collect::<Vec<_>>()
    };
    let suspected = Availability::Cooling(Duration::from_secs(1), Cause::Suspected);
    for others in [Availability::Available, suspected, Availability::Cooling(Duration::from_secs(1), Cause::Failed)] {
        assert_eq!(plan(&["us"], others), ["us2"], "{others:?}");
        assert_eq!(plan(&["us", "us2"], others), Vec::<String>::new(), "{others:?}");
    }
    assert_eq!(plan(&["eu"], Availability::Available), ["us", "us2"]);
}

#[test]
fn refusals_say_why() {
    assert_eq!(plan("none", &tenant(&[], &[]), &[]), Err(Refusal::ModelNotFound));
    assert_eq!(plan("chat", &tenant(&[], &["small"]), &[]), Err(Refusal::ModelNotFound));
    let refusal = plan("small", &tenant(&["US"], &[]), &[]).unwrap_err();
    assert_eq!(refusal, Refusal::Residency { served: "CN, EU".into(), allowed: "US".into() });
    // A target that cools down is no residency matter.
    assert!(plan("small", &tenant(&["CN"], &[]), &[("cn", 1)]).is_ok());
}

#[test]
fn the_list_of_models_obeys_the_same_rules() {
    let list =
        |constraints: Constraints| -> Vec<String> { table().models(&constraints).map(ToString::to_string).collect() };
    assert_eq!(list(tenant(&[], &[])), ["chat", "small"]);
    assert_eq!(list(tenant(&["US"], &[])), ["chat"]);
    assert_eq!(list(tenant(&[], &["small"])), ["small"]);
    assert!(list(tenant(&["JP"], &[])).is_empty());
}

#[test]
fn who_may_serve_is_known_whether_or_not_it_would_be_asked_now() {
    let table = table();
    for (jurisdictions, models, expected) in [
        (&[][..], &[][..], &["eu", "us", "us2", "eu", "cn"][..]),
        (&["US"], &[], &["us", "us2"]),
        (&[], &["chat"], &["eu", "us", "us2"]),
    ] {
        let constraints = tenant(jurisdictions, models);
        let may: Vec<_> = table.may_serve("chat", &constraints).map(|target| target.provider.as_str()).collect();
        assert_eq!(may, expected);
    }
    assert_eq!(table.may_serve("unknown", &tenant(&[], &[])).count(), 0);
}
